"""Each peer's virtual environment, under .peers/.

A peer's needs never meet ours: it has its own numpy and, where it needs one, its own torch, the same version as ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
    # pydantic is all that our theory and steppers need besides: `benchmarks.peers.samplers` runs them beside theirs.
    "diffusers": Peer(("diffusers==0.42.1", "accelerate==1.15.0", "datasets==5.2.0", "pydantic==2.14.3"), torch=True),
    "keras": Peer(("keras==3.15.1", "tensorflow-cpu==2.21.0")),
    # Business Source License 1.1: beside our figures only, never a dependency.
    "sdv": Peer(("sdv==2.0.0", "ctgan==0.12.1"), torch=True),
    "aim": Peer(("opendp==0.16.0", "mbi==1.1.0", "polars==1.36.1", "pyarrow", "pandas")),
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


def run_in(name: str, module: str, *arguments: object) -> str:
    """What a module of ours prints that runs in the peer's environment, with our source on its path.

    Relative paths among the arguments are those of this process. Standard error is shown as it comes. Exits if the
    module fails.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [str(part) for part in (ensure(name), "-m", module, *map(_absolute, arguments))]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the peer {name!r} failed: {' '.join(command)}\n{done.stdout[-2000:]}")
    return done.stdout


def _absolute(argument: object) -> object:
    return argument.resolve() if isinstance(argument, Path) else argument


def bf16() -> bool:
    """Whether this processor multiplies in bf16; others emulate it, at a fiftieth of the rate of fp32.

    As `morphogen.trainer.precision` decides, for code that runs in a peer's environment, too.
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
