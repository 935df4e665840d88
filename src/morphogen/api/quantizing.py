"""The integer form of a model."""

from __future__ import annotations

from pathlib import Path

from morphogen import artifact
from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.archives import Quantized
from morphogen.applications.compression import quantization
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData, all_as_test
from morphogen.data.load import load

CHECKED = 1000


def quantize(
    model: AnyModel,
    out: Path | str,
    data: AnyData | None = None,
    *,
    bits: int = 16,
    n: int = CHECKED,
    split: str | None = None,
) -> Quantized:
    """Make the integer form of a model, which computes the same bits on every machine.

    Weights become integers of `bits` bits, activations multiples of 2^-12, and every sum a sum of integers below 2^53,
    which is proved for each layer (Balle et al., "Integer networks for data compression with latent-variable models",
    2019).

    Args:
        model: a held model, or the path of its directory.
        out: the model directory to make.
        data: held-out records to measure the loss on, and to check the integers by; None takes the model's own data.
        bits: of a weight, 4 to 16; fewer make a smaller model that codes worse.
        n: how many records, at most.
        split: of the data; None is "test".

    Returns:
        Where it lies and what it costs.

    Raises:
        CapabilityError: a model that has no integer form.
        SpecError: a model that is one already.

    Example:
        >>> mg.quantize("runs/pixels", "runs/sixteen-bits", "digits", n=2).n
        2
    """
    if not 4 <= bits <= 16:
        raise UsageError(f"weights have 4 to 16 bits (got {bits}).")
    if n < 1:
        raise UsageError(f"--n is at least 1 (got {n}).")
    if Path(out).exists():
        raise UsageError(f"{out} exists: choose another name for the integer form.")
    held = open_model(model, "cpu")
    given = held.data.source if data is None else data
    dataset = load(given if split else all_as_test(given), like=held.data)
    records = dataset.split(split or "test").select(slice(0, n))
    found = quantization.quantize(held.module, records, bits, len(records))
    before, after = float(found.before.mean()), float(found.after.mean())
    measured = {"bits": bits, "loss": found.loss, "records": len(records), "bits_per_dim": [before, after]}
    about = {**held.provenance, "quantized": {**measured, "of": held.fingerprint}}
    where = artifact.save(out, found.family, recipe=held.stored.get("recipe", {}), provenance=about)
    size = (where / "weights.safetensors").stat().st_size
    largest = max(found.layers.values())
    return Quantized(str(where), bits, (before, after), found.loss, len(records), found.checked, largest, size)
