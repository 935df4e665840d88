"""The cost of a run and the machine that it ran on, for the artifact."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from morphogen.trainer.precision import resolve


def versions() -> dict[str, str]:
    """The versions of the programs that the results depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "morphogen": version("morphogen")}


def hardware(device: torch.device, processes: int) -> dict[str, Any]:
    """The hardware of the run."""
    found: dict[str, Any] = {
        "cpu": f"{_cpu()} ({_instructions()})",
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        found["accelerator"] = torch.cuda.get_device_name(device)
    return found | {"processes": processes}


def peak_memory_mb() -> float | None:
    """The largest resident memory of this process so far, in MB; None if the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)


def _instructions() -> str:
    """The features that decide the speed of a processor: its widest vectors, and whether it multiplies in bf16."""
    bf16 = resolve("auto", torch.device("cpu")) == "bf16"
    return torch.backends.cpu.get_cpu_capability() + (", bf16" if bf16 else "")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
