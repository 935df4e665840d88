"""What was asked of likelihoods, and of the evaluation itself: rows of the results page."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results_rows import Result, Row, Seen, named, seen_of, short


def _pythae(record: Result) -> Seen:
    return seen_of(record["ours minus pythae, nats"], 0.0)


def _codec(rival: str) -> Callable[[Result, Result], Seen]:
    def read(record: Result, codecs: Result) -> Seen:
        other = [f"{name} {value:.3f}" for name, value in codecs["bits_per_dim"].items()]
        return seen_of(named(record, "bits_per_dim"), codecs["bits_per_dim"][rival], record, *other)

    return read


def _codes(*records: Result) -> Seen:
    shares = [min(record["codes"]["in_use"]) for record in records]
    perplexity = ", ".join(f"{record['codes']['perplexity'][0]:.0f}" for record in records)
    return Seen(min(shares), None, 0.95, f"the least of three seeds; perplexity {perplexity} of 512", ".0%")


def _likelihood(what: str, row: str, metric: str, most: float, stretch: float | None = None) -> Row:
    command = f"python -m benchmarks.{row.partition('-')[0]} {row.partition('-')[2]}"
    asked = f"at most {most:g}" + (f" (stretch {stretch:g})" if stretch else "")
    unit = "nats" if metric == "nll" else "bits/dim"
    return Row(
        f"{what}, {unit}",
        command,
        asked,
        "lower",
        (row,),
        lambda record: seen_of(named(record, metric), most, record),
        stretch,
    )


LIKELIHOOD = (
    _likelihood("binarized MNIST, MLP VAE, -log p(x)", "likelihood-mlp", "nll", 89.3),
    Row(
        "the same less pythae's VAE on the same pictures, paired, nats",
        "python -m benchmarks.pythae_likelihood",
        "below 0",
        "lower",
        ("likelihood-pythae",),
        _pythae,
    ),
    Row(
        "IWAE with k = 50 less the MLP VAE, paired, nats",
        "python -m benchmarks.likelihood iwae --against mlp",
        "at most -1.5",
        "lower",
        ("likelihood-iwae-against-mlp",),
        lambda record: seen_of(record, -1.5),
    ),
    _likelihood(
        "binarized MNIST, convolutional VAE with a flow prior, -log p(x)", "likelihood-conv", "nll", 84.3, 83.5
    ),
    _likelihood("8-bit MNIST, VAE, bound", "likelihood-bits", "bits_per_dim", 1.33),
    _likelihood("binarized MNIST, hierarchical VAE, -log p(x)", "deep-ladder-binary", "nll", 82.3, 81.3),
    _likelihood("8-bit MNIST, hierarchical VAE, bound", "deep-ladder-bits", "bits_per_dim", 1.20, 1.10),
    _likelihood("8-bit MNIST, autoregressive, exact", "deep-pixels-mnist", "bits_per_dim", 0.95),
    _likelihood("8-bit Fashion-MNIST, autoregressive, exact", "deep-pixels-fashion", "bits_per_dim", 3.2),
    *(
        Row(
            "aerial pictures, 128 x 128 RGB, autoregressive, exact, bits/dim",
            "python -m benchmarks.deep pixels-aerial",
            f"below {rival}{word}",
            "lower",
            ("deep-pixels-aerial", "deep-codecs"),
            _codec(rival),
        )
        for rival, word in (("PNG", ""), ("WebP", " (stretch)"))
    ),
    Row(
        "VQ-VAE: codes in use on 5,000 test pictures",
        "python -m benchmarks.deep codes-0",
        "over 95 %",
        "higher",
        ("deep-codes-0", "deep-codes-1", "deep-codes-2"),
        _codes,
    ),
    Row(
        "8-bit MNIST, diffusion, variational bound, bits/dim",
        "python -m benchmarks.diffusion mnist",
        "at most 1.35 (stretch 1.2)",
        "lower",
        ("diffusion-mnist",),
        lambda record: seen_of(
            record["bits_per_dim"]["bound, 100 evaluations"],
            1.35,
            record,
            f"by the probability flow {short(record['bits_per_dim']['flow, 97 evaluations'])}",
        ),
        1.2,
    ),
)


# ------------------------------------------------------------------------------- evaluation


def _covers(chosen: Callable[[str], bool]) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        claimed = [row for row in record["coverage"] if row["claim"] == "93 to 97 %"]
        cases = [row for row in claimed if chosen(row["estimate"])]
        kept = sum(row["verdict"] == "kept" for row in cases)
        shares = [row["coverage"] for row in cases]
        lost = [f"{row['estimate']} {100 * row['coverage']:.1f} %" for row in cases if row["verdict"] != "kept"]
        beside = (
            f"coverage {100 * min(shares):.1f} to {100 * max(shares):.1f} % in {cases[0]['trials']:,} trials a case"
        )
        if lost:
            beside += f"; outside: {', '.join(lost)}"
        return Seen(kept / len(cases), None, 1.0, beside, text=f"{kept} of {len(cases)} cases")

    return read


def _seconds(record: Result) -> Seen:
    first = "all metrics from files by the command, for the first time"
    again = f"again {record['the same again, features of real pictures kept']:.0f} s"
    return Seen(record[first], None, 60.0, again, ".0f")


EVALUATION = (
    *(
        Row(
            f"95 % intervals of {what} cover the truth at the stated rate",
            "python -m benchmarks.estimators",
            "93 to 97 %, every case",
            "higher",
            ("estimators",),
            _covers(chosen),
        )
        for what, chosen in (
            ("Frechet distances", lambda name: name == "frechet"),
            ("KID", lambda name: name == "kid"),
            ("other estimates that claim it", lambda name: name not in ("frechet", "kid")),
        )
    ),
    Row(
        "seconds to judge 10,000 pictures of 28 x 28, all metrics, for the first time",
        "python -m benchmarks.evaluation time",
        "under 60",
        "lower",
        ("evaluation-time",),
        _seconds,
    ),
)
