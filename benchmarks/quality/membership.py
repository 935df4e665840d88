"""Membership attacks on a plain model of each family, and the bound of epsilon of a training without noise.

    python -m benchmarks.quality.membership vae             # or another row; `all` for every one
    python -m benchmarks.quality.membership vae --evaluate  # a row that is trained already
    python -m benchmarks.quality.membership claims          # 20 private trainings: is a claim below its own bound?
    python -m benchmarks.quality.membership likelihood-mlp  # the model of a row of another benchmark, trained there

A row trains for 3 minutes of one core, on pictures of MNIST, or on the rows of the breast cancer table. It is attacked
with equally many training and test records, at most 2,000: AUC, and true positives at 1 % false ones, with their
intervals, beside held-out records and planted copies. `canaries`: 500 random pictures, half of them planted in a
training on the embedded digits, and the bound of epsilon that right guesses give. `claims`: the bound beside the claim
of 20 private trainings of three families on the digits, at epsilon 1, 3 and 10. Needs MORPHOGEN_DATA.
"""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import RUNS, Asked, Json, Row, Run, audit, path_of, run_rows, say, training, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least, at_most
from benchmarks.quality import diffusion, gan, likelihood

N, SAMPLES = 2000, 2000
CANARIES = 500
EPSILONS = (1, 3, 10)
PRIVATE: tuple[tuple[str, Json], ...] = (
    ("vae", {"backbone": "mlp", "hidden": (64,), "latent_dim": 8, "lr": 2e-3}),
    ("diffusion", {"backbone": "mlp", "hidden": (128,)}),
    ("autoregressive", {"width": 16, "inner": 8, "blocks": 1, "hidden": 16}),
)
_RECIPE = {"budget": "3min", "batch_size": 64, "compile": "off", "sheet_seconds": 1e6}
TABLE = "breast_cancer"


def attacked(run: Run, **how: int) -> Json:
    """What the attacks find."""
    few = {"n": 60, "samples": 60} if run.quick else {"n": N, "samples": SAMPLES}
    out = run.model.with_name(f"{run.model.name}-audit")
    found = audit(run.model, run.row.data, out, **{**few, **how})
    for result in found["results"]:
        if result["interval"] is not None:
            say(result["name"], result)
            rates = result["details"].get("true_positives", {})
            if rates:
                say(f"{result['name']}, true positives at 1 %", rates["0.01"])
    return found


def with_canaries(run: Run) -> Json:
    """The same, and the bound of epsilon from guesses about canaries."""
    found = attacked(run, canaries=20 if run.quick else CANARIES)
    print(found["canaries"], flush=True)
    return found


def _bound(record: Result) -> Seen:
    found = record["canaries"]
    guesses = ", ".join(f"{g['right']} of {g['guesses']}" for g in found["guesses"])
    return Seen(found["epsilon"], None, f"right guesses: {guesses}; by Gaussian noise {found['gaussian']:.2f}")


def claims(quick: bool) -> Json:
    """Private trainings, each with canaries: the lower bound of epsilon beside what is claimed."""
    runs = []
    for k in range(2 if quick else 20):
        family, options = PRIVATE[k % len(PRIVATE)]
        epsilon, out = EPSILONS[k // len(PRIVATE) % len(EPSILONS)], RUNS / "membership" / f"claim-{k}"
        for folder in (out, out.with_name(f"{out.name}-audit")):
            shutil.rmtree(folder, ignore_errors=True)
        recipe = {"seed": k, "steps": 100, "batch_size": 200, "warmup": 0, "compile": "off"}
        recipe["privacy"] = f"epsilon={epsilon},delta=1e-5"
        for _ in training(family, "digits", out, options=options, recipe=recipe):
            pass
        found = audit(out, "digits", out.with_name(f"{out.name}-audit"), n=200, samples=200, canaries=CANARIES)
        bound = found["canaries"]
        run = {"family": family, "claim": found["claim"]["epsilon"], "bound": bound["epsilon"]}
        runs.append({**run, "gaussian": bound["gaussian"], "auc": bound["auc"], "refuted": bool(found["violations"])})
        print(runs[-1], flush=True)
    return {"runs": runs, "refuted": sum(run["refuted"] for run in runs)}


def _refuted(record: Result) -> Seen:
    most = max(max(run["bound"], run["gaussian"]) / run["claim"] for run in record["runs"])
    return Seen(
        record["refuted"], None, f"of {len(record['runs'])}; the largest bound is {most:.2f} of its claim", ".0f"
    )


def _row(family: str, name: str = "", data: str = "mnist", **options: object) -> Row:
    what = f"{family} on {data}, 3 minutes of one core"
    return Row("membership", name or family, what, family, data, _RECIPE, attacked, options)


ROWS = harness.by_name(
    _row("vae"),
    _row("hierarchical_vae"),
    _row("vq_vae"),
    _row("autoregressive", width=32, inner=16, blocks=3),
    _row("diffusion", widths=(16, 32), blocks=(1,)),
    _row("flow_matching", widths=(16, 32), blocks=(1,)),
    _row("gan"),
    _row("vae", "vae-rows", TABLE),
    _row("diffusion", "diffusion-rows", TABLE),
    Row(
        "membership",
        "canaries",
        f"an autoregressive model of 300 digits, without noise; {CANARIES} canaries, half of them planted",
        "autoregressive",
        "digits:validation=0.8",
        {"steps": 8000, "batch_size": 64, "compile": "off", "sheet_seconds": 1e6, "lr_schedule": "constant"},
        with_canaries,
        {"width": 64, "inner": 32, "blocks": 3, "hidden": 64},
        asked=(
            Asked("lower bound of epsilon of a training without noise", at_least(3.0, "above 3 (stretch 5)"), _bound),
        ),
    ),
)
OTHERS = {
    "likelihood-mlp": likelihood.ROWS["mlp"],
    "likelihood-conv": likelihood.ROWS["conv"],
    "deep-ladder-binary": likelihood.ROWS["ladder-binary"],
    "deep-pixels-fashion": likelihood.ROWS["pixels-fashion"],
    "diffusion-fashion": diffusion.ROWS["fashion"],
    "gan-fashion": gan.ROWS["fashion"],
}
FIGURES = (
    *harness.figures("quality.membership", ROWS),
    tables.of("quality.membership claims", "membership-claims")(
        "private trainings whose claim is below its own bound", at_most(0), _refuted
    ),
)


def parser() -> ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS, "claims", *OTHERS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and attack a row, or attack the model of another benchmark."""
    asked = parser().parse_args(arguments)
    if asked.row == "claims":
        write(path_of("membership-claims", asked.quick), {"what": "private trainings", **claims(asked.quick)})
    elif asked.row in OTHERS:
        row = OTHERS[asked.row]
        model: Path = harness.train(row, quick=True) if asked.quick else row.model()
        found = attacked(Run(row, model, asked.quick))
        write(path_of(f"membership-{asked.row}", asked.quick), {"what": row.what, **found})
    else:
        run_rows(ROWS, asked)


if __name__ == "__main__":
    main()
