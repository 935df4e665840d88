"""Train in several processes that torchrun has started. Each process takes its share of every batch.

Replicated ("ddp"): after the last accumulated part and before clipping, one all-reduce of a flat buffer averages the
gradients. `DistributedDataParallel` would overlap this with the backward pass. But it sees only the parameters that a
wrapped network used in its last call: it fails on parameters that a step does not use, never averages parameters
outside `networks()`, and also averages the parameters of other players. Overlap matters for large models, and these are
sharded ("fsdp"): FSDP2's `fully_shard` splits each of `networks()` over the processes and averages their gradients
during the backward pass.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from morphogen.core.errors import SpecError
from morphogen.core.family import Family
from morphogen.trainer.recipe import Recipe


@dataclass(frozen=True)
class World:
    """The number of this process, and the number of all processes."""

    device: torch.device
    rank: int = 0
    size: int = 1
    sharded: bool = False

    @property
    def leads(self) -> bool:
        """True in the one process that writes."""
        return self.rank == 0

    def lost(self, error: RuntimeError) -> str | None:
        """The process that has ended, if `error` says so: "process 1" or "another process"; else None."""
        words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
        if self.size == 1 or not (isinstance(error, dist.DistError) or any(word in str(error) for word in words)):
            return None
        return f"process {1 - self.rank}" if self.size == 2 else "another process"

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace `.grad` by its mean over the processes. A missing gradient counts as zero.

        A parameter that has a gradient in no process stays without one.
        """
        if self.size == 1 or not parameters:
            return
        here = [float(p.grad is not None) for p in parameters]
        present = torch.tensor(here, device=self.device)
        flat = torch.cat([*(_in_memory_order(p) for p in parameters), present])
        dist.all_reduce(flat)
        means = flat[: -len(parameters)].div_(self.size).split([p.numel() for p in parameters])
        anywhere = flat[-len(parameters) :].tolist() if not all(here) else here
        for p, mean, count in zip(parameters, means, anywhere, strict=True):
            # in the layout of p, channels-last or not: a fused optimizer needs that
            p.grad = mean.to(p.dtype).as_strided(p.shape, _strides(p)) if count else None

    def mean(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor's mean over the processes."""
        if self.size == 1 or not values:
            return list(values)
        flat = torch.cat([v.reshape(-1) for v in values])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([v.numel() for v in values])
        return [part.view_as(v) for part, v in zip(parts, values, strict=True)]

    def largest(self, values: Sequence[float]) -> list[float]:
        """The maximum of each value over the processes, so that all processes decide alike."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def meet(self) -> None:
        """Wait until every process is here."""
        self.largest([0.0])

    @torch.no_grad()
    def share_weights(self, family: Family) -> None:
        """Give every process the weights of the leading one; shard the model if the recipe says so."""
        if self.size == 1:
            return
        for value in [*family.parameters(), *family.buffers()]:
            dist.broadcast(value.data, src=0)
        if self.sharded:
            from torch.distributed.device_mesh import DeviceMesh  # seconds to import
            from torch.distributed.fsdp import fully_shard

            # A separate group: shards keep their group alive after `_leave`, but gloo's threads must end before that.
            mesh = DeviceMesh.from_group(dist.new_group(), self.device.type)
            for network in family.networks().values():
                network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP2 needs it
                fully_shard(network, mesh=mesh)


def leads() -> bool:
    """True in the one process that writes; works before the processes have joined."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or int(os.environ.get("RANK", "0")) == 0


def leads_alone() -> bool:
    """True if no other process trains with this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def join(recipe: Recipe) -> World:
    """Join the processes of torchrun, if it runs, until this process ends. Raises `SpecError`."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = resolve_device(recipe.device)
    if size == 1:
        if recipe.distributed == "fsdp":
            raise SpecError("distributed='fsdp' shards a model over processes: start it with torchrun.")
        return World(device)
    if recipe.batch_size % (size * recipe.accumulate):
        raise SpecError(
            f"batch_size {recipe.batch_size} is not divisible by {size} processes x accumulate {recipe.accumulate}."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        # Do not leave at the end of a run: a second group at the same address may hang.
        atexit.register(_leave)
    return World(device, dist.get_rank(), size, recipe.distributed == "fsdp")


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def resolve_device(wanted: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:N". Raises `SpecError` if it does not exist."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SpecError(f"unknown device {wanted!r}: expected auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise SpecError(f"device {wanted!r} is not available: use auto or cpu.")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def _in_memory_order(p: nn.Parameter) -> Tensor:
    """The gradient of `p` (zero if missing) as one row, in the memory order of `p`."""
    grad = torch.zeros_like(p) if p.grad is None else p.grad
    if grad.stride() != _strides(p):
        grad = torch.empty_like(p).copy_(grad)
    return grad.detach().as_strided((grad.numel(),), (1,))


def _strides(p: nn.Parameter) -> tuple[int, ...]:
    """The strides of a dense tensor in the layout of `p`; `p` may be a view of a larger tensor."""
    return torch.empty_like(p, device="meta").stride()


def is_sharded(tensor: Tensor) -> bool:
    """True if each process holds only a part of the tensor."""
    loaded = sys.modules.get("torch.distributed.tensor")  # who shards has imported it
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def full(tensor: Tensor) -> Tensor:
    """The whole tensor. If it is sharded, every process must call this."""
    if not is_sharded(tensor):
        return tensor
    whole: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]  # of a DTensor
    return whole


def fill(tensor: Tensor, value: Tensor) -> Tensor:
    """Copy a whole `value` into a tensor, sharded or not; returns the tensor."""
    value = value.to(tensor.device)
    if is_sharded(tensor):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(tensor, DTensor)
        value = distribute_tensor(value, tensor.device_mesh, tensor.placements)
    return tensor.copy_(value)
