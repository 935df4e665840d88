"""What a model's coder reads, as hashes, on this machine as it is set: to be compared with the same elsewhere.

    python -m benchmarks.peers.frequencies MODEL pictures.npy --threads 2 --batch 7

Prints JSON: the sha256 of all integer frequencies of the pictures (N, *shape), computed `--batch` at a time, and that
of the code of all of them together. `--onednn off` sets what the environment cannot.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from morphogen import artifact
from morphogen.applications.compression import by_conditionals


def options() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("model", type=Path)
    found.add_argument("pictures", type=Path)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--batch", type=int, default=64)
    found.add_argument("--onednn", choices=["on", "off"], default="on")
    return found


def main() -> None:
    """Print the hashes."""
    asked = options().parse_args()
    torch.set_num_threads(asked.threads)
    torch.backends.mkldnn.enabled = asked.onednn == "on"
    family = artifact.load(asked.model, "cpu").family
    u = torch.from_numpy(np.load(asked.pictures))
    hashes = [hashlib.sha256() for _ in range(len(u))]
    for rows in torch.arange(len(u)).split(asked.batch):
        s = family.symbols(u[rows])  # type: ignore[operator]
        walk = family.conditionals(len(rows))  # type: ignore[operator]
        frequencies = next(walk)
        for t in range(s.shape[1]):
            for record, f in zip(rows.tolist(), frequencies.numpy(), strict=True):
                hashes[record].update(f.tobytes())
            if t + 1 < s.shape[1]:
                frequencies = walk.send(s[:, t])
    code, _ = by_conditionals.encode(family, u, int(family.data.levels or 2))  # type: ignore[arg-type]
    whole = hashlib.sha256(b"".join(h.digest() for h in hashes)).hexdigest()
    about = {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    print(json.dumps({"frequencies": whole, "code": hashlib.sha256(code).hexdigest(), **about}))


if __name__ == "__main__":
    main()
