"""The verb archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morphogen import DataError
from morphogen.cli.console import busy
from morphogen.cli.models import limit_threads, require_folder
from morphogen.cli.options import Json, Threads
from morphogen.cli.outputs import emit

if TYPE_CHECKING:
    from morphogen.api import Archive

EXAMPLE = "morphogen archive digits.mgz --verify --model runs/integers"


def archive(
    file: Annotated[Path, typer.Argument(metavar="FILE.mgz", help="What `compress` wrote.")],
    verify: Annotated[bool, typer.Option("--verify", help="Decode every block, and compare.")] = False,
    model: Annotated[Path | None, typer.Option("--model", metavar="DIR", help="The model, to verify by it.")] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Tell what is in an archive, its rate and the model that it needs. The exit status is 1 where it is damaged."""
    if model is not None:
        require_folder(model)
    limit_threads(threads)
    from morphogen import api

    with busy("reading"):
        found = api.describe_archive(file, model, verify=verify)
    emit(None, found.to_dict(), json, warnings=found.warnings, lines=lines_of(found))
    if found.warnings:
        raise DataError(f"{file} is damaged: {found.warnings[0]}.")


def lines_of(found: Archive) -> list[str]:
    """What an archive counts, in words."""
    size = " x ".join(map(str, found.shape))
    rate = "" if found.bits_per_dim is None else f", {found.bits_per_dim:.4f} bits per dimension"
    blocks = ", ".join(f"{n:,} {coder}" for coder, n in found.blocks.items())
    lines = [
        f"{found.records:,} records of {size} in {found.bytes:,} bytes{rate}",
        f"blocks: {blocks or 'none'}",
    ]
    if found.quality is not None:
        near = "" if found.psnr is None else f": PSNR {found.psnr:.2f} dB, MS-SSIM {found.ms_ssim:.4f}"
        lines.append(f"coded with a loss, quality {found.quality}{near}")
    if found.model is not None:
        where = f"inside, {found.model_bytes:,} bytes" if found.model_bytes else "not inside"
        promise = "the same on every machine" if found.exact else "for the machine that made it only"
        lines.append(f"needs the {found.family} model {found.model[:16]} ({where}); {promise}")
    if found.gap is not None:
        lines.append(
            f"the model asks for {found.ideal_bits_per_dim:.4f} bits per dimension, the file for {found.gap:+.2%}"
        )
    lines += [f"{name}: {value:.4f} bits per dimension" for name, value in found.rivals.items()]
    if found.break_even is not None:
        lines.append(f"with its model it is smaller than the best of these from {found.break_even:,} records on")
    return lines
