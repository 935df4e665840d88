"""What a model's coder reads, as hashes, on this machine as it is set: to be compared with the same elsewhere.

    python -m benchmarks.peers.frequencies MODEL pictures.npy --threads 1 2 --batch 1 7 --onednn on off

Prints a JSON list, for each combination the sha256 of all integer frequencies of the pictures (N, *shape), computed
`--batch` at a time, and that of the code of all of them together. Of a model that codes with a loss, the first is that
of the pictures which it makes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen import artifact
from morphogen.applications.compression import by_conditionals, by_integers
from morphogen.core.capabilities import CodesWithLoss

QUALITY = 50  # of a model that codes with a loss


def options() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("model", type=Path)
    found.add_argument("pictures", type=Path)
    found.add_argument("--threads", type=int, nargs="+", default=[1])
    found.add_argument("--batch", type=int, nargs="+", default=[64])
    found.add_argument("--onednn", choices=["on", "off"], nargs="+", default=["on"])
    return found


def hashes(family: Any, u: Tensor, batch: int) -> dict[str, str]:
    """The hashes for one setting."""
    if CodesWithLoss in family.capabilities:
        parts = [by_integers.encode(family, part, QUALITY)[2].tobytes() for part in u.split(batch)]
        lossy = by_integers.encode(family, u, QUALITY)[0]
        return {
            name: hashlib.sha256(of).hexdigest() for name, of in (("frequencies", b"".join(parts)), ("code", lossy))
        }
    each = [hashlib.sha256() for _ in range(len(u))]
    for rows in torch.arange(len(u)).split(batch):
        s = family.symbols(u[rows])
        walk = family.conditionals(len(rows))
        frequencies = next(walk)
        for t in range(s.shape[1]):
            for record, f in zip(rows.tolist(), frequencies.numpy(), strict=True):
                each[record].update(f.tobytes())
            if t + 1 < s.shape[1]:
                frequencies = walk.send(s[:, t])
    code, _ = by_conditionals.encode(family, u, int(family.data.levels or 2))
    whole = hashlib.sha256(b"".join(h.digest() for h in each))
    return {"frequencies": whole.hexdigest(), "code": hashlib.sha256(code).hexdigest()}


def main() -> None:
    """Print the hashes."""
    asked, rows = options().parse_args(), []
    family = artifact.load(asked.model, "cpu").family
    u = torch.from_numpy(np.load(asked.pictures))
    about = {"torch": torch.__version__, "kernels": torch.backends.cpu.get_cpu_capability()}
    for threads, batch, onednn in itertools.product(asked.threads, asked.batch, asked.onednn):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn == "on"
        rows.append({"threads": threads, "batch": batch, "onednn": onednn, **about, **hashes(family, u, batch)})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
