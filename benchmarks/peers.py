"""The peers that the benchmarks run beside, each in a virtual environment of its own under .peers/.

    python -m benchmarks.peers            # make all of them
    python -m benchmarks.peers pythae     # or one

A peer's needs never meet ours: it has its own numpy and, where it needs one, its own torch, the same version as ours.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".peers"


@dataclass(frozen=True)
class Peer:
    """What to install; `torch` puts our version of torch in first and holds it there."""

    packages: tuple[str, ...]
    torch: bool = False


PEERS = {
    "pythae": Peer(("pythae==0.1.2",), torch=True),
    "estimators": Peer(("torchmetrics==1.9.0", "prdc==0.2"), torch=True),
    "codecs": Peer(("imagecodecs==2026.3.6", "numpy==2.4.1")),
    # pydantic is all that our theory and steppers need besides: benchmarks/steppers_peer.py runs them beside theirs.
    "diffusers": Peer(("diffusers==0.42.1", "accelerate==1.15.0", "datasets==5.2.0", "pydantic==2.14.3"), torch=True),
    "keras": Peer(("keras==3.15.1", "tensorflow-cpu==2.21.0")),
    "torchgan": Peer(("torchgan==0.1.0", "torchvision==0.28.0"), torch=True),
}


def ensure(name: str) -> Path:
    """The path of the peer's python; its environment is made if it is not there or if the pins have changed.

    Exits with a message if the packages cannot be installed.
    """
    peer, home = PEERS[name], HOME / name
    python, ready = home / "bin" / "python", home / ".ready"
    pins = [_torch_pin(), *peer.packages] if peer.torch else list(peer.packages)
    wanted = "\n".join(pins) + "\n"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {', '.join(pins)} into {home.relative_to(ROOT)}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    _run(name, sys.executable, "-m", "venv", str(home))
    constraints = home / "constraints.txt"
    constraints.write_text(_torch_pin() + "\n", encoding="utf-8")
    if peer.torch:  # first and alone: another package that asks for it could choose another build
        _pip(name, python, constraints, pins[:1])
    _pip(name, python, constraints, list(peer.packages))
    ready.write_text(wanted, encoding="utf-8")
    return python


def versions(python: Path, *packages: str) -> dict[str, str]:
    """What is installed there, by package."""
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]), sep='\\n')"
    found = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, found.stdout.split(), strict=True))


def pythae_vae(hidden: tuple[int, ...], latent_dim: int, loss: str) -> Any:
    """pythae's VAE of 28x28 pictures with ReLU perceptrons, for code that runs in its environment.

    The encoder has the layers `hidden` and the decoder the same in reverse, ending in the sigmoid that pythae's own
    networks end in; `loss` is its reconstruction loss, "bce" or "mse".
    """
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    def layers(*sizes: int) -> list[nn.Module]:
        return [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*layers(784, *hidden))
            self.mean, self.log_var = nn.Linear(hidden[-1], latent_dim), nn.Linear(hidden[-1], latent_dim)

        def forward(self, x: Any) -> Any:
            h = self.body(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*layers(latent_dim, *hidden[::-1]), nn.Linear(hidden[0], 784), nn.Sigmoid())

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent_dim, reconstruction_loss=loss)
    return VAE(config, Encoder(), Decoder())


def declare_torchvision_operators() -> None:
    """Let `import torchvision` pass, for code that runs in an environment that has it; call it first.

    The registry's build is for CUDA: its operators do not load beside a torch for CPUs, and the import stops at the
    first that is missing. Declared, they still cannot be called; pictures, transforms and grids need none of them.
    """
    import torch

    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema)


def bf16() -> bool:
    """Whether this processor multiplies in bf16; others emulate it, at a fiftieth of the rate of fp32.

    As `morphogen.training.precision` decides, for code that runs in a peer's environment, too.
    """
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _torch_pin() -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _pip(name: str, python: Path, constraints: Path, packages: list[str]) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(name, *pip, "-c", str(constraints), *packages)


def _run(name: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-5:])
        raise SystemExit(
            f"the peer {name!r} could not be installed: `{' '.join(command)}` failed.\n{said}\n"
            "Its packages come from the package index that pip is set to; see that it can be reached, and try again."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", nargs="?", choices=[*PEERS, "all"], default="all")
    wanted = parser.parse_args().peer
    for name in PEERS if wanted == "all" else [wanted]:
        python = ensure(name)
        packages = [pin.partition("==")[0] for pin in PEERS[name].packages]
        print(name, python, versions(python, *packages))


if __name__ == "__main__":
    main()
