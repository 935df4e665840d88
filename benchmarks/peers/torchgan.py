"""torchgan's Trainer on the classic MLP GAN; runs in the environment "torchgan".

python -m benchmarks.peers.torchgan gan --pictures PICTURES.npy --seconds 25
"""

from __future__ import annotations

import tempfile
from typing import Any, cast

from benchmarks.speed.clock import Clock
from benchmarks.speed.mlp import BATCH, BETAS, DISCRIMINATOR, GENERATOR, LR, NOISE, network, time_loop


def declare_torchvision_operators() -> None:
    """Let `import torchvision` pass, for code that runs in an environment that has it; call it first.

    The registry's build is for CUDA: its operators do not load beside a torch for CPUs, and the import stops at the
    first that is missing. Declared, they still cannot be called; pictures, transforms and grids need none of them.
    """
    import torch

    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema)


def loop(pictures: Any, seconds: float) -> dict[str, float]:
    """torchgan's Trainer with its losses, which draws other samples for the generator's move than for its opponent's.

    Each call trains for an epoch. At its end it saves the networks and draws a sheet of samples, whatever the options;
    both are taken out (the sheet also fails, by a keyword that torchvision has dropped). What it logs in each step, the
    losses and the squared norms of gradients, no option turns off either: that is the cost of its loop, and stays.
    """
    declare_torchvision_operators()
    import torch
    from torch.utils.data import DataLoader
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    class G(Generator):
        def __init__(self) -> None:
            super().__init__(NOISE)
            self.body = network(GENERATOR, torch.nn.Tanh())

        def forward(self, z: Any) -> Any:
            return self.body(z)

    class D(Discriminator):
        def __init__(self) -> None:
            super().__init__(DISCRIMINATOR[0])
            self.body = network(DISCRIMINATOR)

        def forward(self, x: Any) -> Any:
            return self.body(x)

    adam = {"name": torch.optim.Adam, "args": {"lr": LR, "betas": BETAS}}
    # A tensor serves as the data set: of a TensorDataset, the trainer demands labels.
    x = 2.0 * torch.from_numpy(pictures).flatten(1) - 1.0
    batches: Any = DataLoader(cast(Any, x), BATCH, shuffle=True, drop_last=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            {"generator": {"name": G, "optimizer": adam}, "discriminator": {"name": D, "optimizer": adam}},
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
            device=torch.device("cpu"),
            epochs=1,
            checkpoints=f"{folder}/checkpoints/gan",
            recon=f"{folder}/samples",
        )
        trainer.save_model = lambda epoch: None
        trainer.logger.logger_end_epoch.clear()
        clock, enough = Clock(seconds), False
        while not enough:
            trainer(batches)
            enough = clock.lap(BATCH * len(batches))
    return clock.result()


if __name__ == "__main__":
    time_loop(__doc__, {"gan": loop})
