"""What was asked of speed and memory, and the speeds that were measured: sections of the results page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.results_rows import LeftOut, Result, Results, Row, Seen
from benchmarks.throughput import DISTURBED

VAE, GAN = "python -m benchmarks.throughput", "python -m benchmarks.throughput --model gan"
SLOW_GAN = f"{GAN} --out benchmarks/results/throughput-gan-avx2.json"
DIFFUSION, SAMPLING = "python -m benchmarks.diffusion_speed --compile", "python -m benchmarks.sampling_speed"
DEEP, GROWTH = "python -m benchmarks.deep sampling", "python -m benchmarks.growth"
DRAWING = "python -m benchmarks.gan_pictures sampling"
MEMORY = "python -m benchmarks.memory"
FLAT = 0.05  # growth from the second to the last quarter of a training, as a share of its peak, that still is flat


@dataclass(frozen=True)
class Speed:
    """Pictures a second of one contestant, their range over rounds, and what share of a ceiling that is."""

    what: str
    images_per_s: float
    range: Sequence[float]
    gflop: float | None = None  # of one picture
    share: str = ""


@dataclass(frozen=True)
class Contest:
    """One benchmark of speed: its file among the results, its title and command, and how to read its rows."""

    file: str
    title: str
    command: str
    speeds: Callable[[Result], Iterator[Speed]]
    about: Callable[[Result], str]


def _mlp_speeds(record: Result) -> Iterator[Speed]:
    ceiling = {key: value["median"] for key, value in record["ceiling"].items()}
    for name, one in record["contestants"].items():
        used = max((cores for cores in one["other_cores"] if cores is not None), default=0.0)
        disturbed = f" (**disturbed**: other processes used {used:.2f} cores)" if used > DISTURBED else ""
        shares = [f"{100 * one['gflops'] / ceiling[f'{kind}_gflops']:.0f} % of {kind}" for kind in ("fp32", "bf16")]
        speed = one["images_per_s"]
        gflop = record["flops_per_image"] / 1e9
        yield Speed(f"{name}: {one['what']}{disturbed}", speed["median"], speed["range"], gflop, ", ".join(shares))


def _mlp_about(record: Result) -> str:
    ceiling = {key.partition("_")[0]: value["median"] for key, value in record["ceiling"].items()}
    return (
        f"{record['rounds']} rounds, interleaved, of {record['seconds']:g} s each after an epoch of warm-up,"
        f" {record['started']}. Matrix products reach {ceiling['fp32']:.0f} GFLOP/s in fp32 and {ceiling['bf16']:.0f}"
        " in bf16 in the same run."
    )


def _net_speeds(record: Result) -> Iterator[Speed]:
    for name, row in record["rows"].items():
        share = f"{100 * row['share_of_ceiling']:.0f} %"
        yield Speed(name, row["images_per_s"], row["range"], row["gflop_per_image"], share)


def _net_about(record: Result) -> str:
    return f"The best 3 x 3 convolution in bf16 reaches {record['ceiling_gflops']:.0f} GFLOP/s in the same run."


def _deep_speeds(record: Result) -> Iterator[Speed]:
    gflop, share = record["mflop_per_picture"] / 1e3, f"{100 * record['share_of_ceiling']:.0f} %"
    yield Speed(record["what"], record["pictures_per_s"], record["range"], gflop, share)


def _deep_about(record: Result) -> str:
    ceiling = f"{record['ceiling_gflops']:.0f} GFLOP/s"
    return f"The best 3 x 3 convolution of 64 channels in fp32 reaches {ceiling} in the same run."


def _growth_speeds(record: Result) -> Iterator[Speed]:
    for family, growth in record["growth"].items():
        for row in growth["batch"]:
            batch, time = row["batch"], row["step_s"]
            ends = sorted(batch / seconds for seconds in time["range"])
            yield Speed(f"{family}, {row['side']} px, batch {batch}", batch / time["median"], ends)


def _growth_about(record: Result) -> str:
    return f"Rounds: {record['rounds']}; {record['started']}."


CONTESTS = (
    Contest("throughput", "Training the classic MLP VAE, batch 128, MNIST", VAE, _mlp_speeds, _mlp_about),
    Contest("throughput-gan", "Training the classic MLP GAN, batch 128, MNIST", GAN, _mlp_speeds, _mlp_about),
    Contest(
        "throughput-gan-avx2",
        "Training the classic MLP GAN, batch 128, MNIST, on a machine without bf16",
        SLOW_GAN,
        _mlp_speeds,
        _mlp_about,
    ),
    Contest("diffusion-speed", "Training a diffusion U-Net, batch 64, 28 x 28", DIFFUSION, _net_speeds, _net_about),
    Contest("sampling-speed", "Drawing by diffusion, 32 x 32, 20 evaluations", SAMPLING, _net_speeds, _net_about),
    Contest("deep-sampling", "Drawing by the hierarchical VAE", DEEP, _deep_speeds, _deep_about),
    Contest("gan-sampling", "Drawing by the GAN of Fashion-MNIST", DRAWING, _deep_speeds, _deep_about),
    Contest("growth", "Training the default networks at growing batches, RGB", GROWTH, _growth_speeds, _growth_about),
)


def speeds(contest: Contest, results: Results) -> str:
    """A contest's speeds as Markdown."""
    if contest.file not in results:
        return f"### {contest.title}\n\nNot measured: `{contest.command}`."
    record = results[contest.file]
    lines = [
        "| what | images/s | range | GFLOP a picture | share of the ceiling |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in contest.speeds(record):
        gflop = "-" if one.gflop is None else f"{one.gflop:.3g}"
        lines.append(f"| {one.what} | {_pace(one)} | {gflop} | {one.share or '-'} |")
    return "\n".join([f"### {contest.title}", "", f"`{contest.command}`. {contest.about(record)}", "", *lines])


def _pace(one: Speed) -> str:
    low, high = map(_rate, one.range)
    return f"{_rate(one.images_per_s)} | {f'{low} to {high}' if one.range[0] < one.range[1] else 'one round'}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def gpu(results: Results) -> str:
    """The same contests where a GPU ran them, as one table."""
    present = [contest for contest in CONTESTS if contest.file in results]
    if not present:
        return "No GPU was at hand: none of the results files was recorded on one."
    lines = [
        "| benchmark | what | images/s | range | share of the ceiling | GPU |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for contest in present:
        accelerator = results[contest.file]["hardware"]["accelerator"]
        for one in contest.speeds(results[contest.file]):
            lines.append(f"| {contest.title} | {one.what} | {_pace(one)} | {one.share or '-'} | {accelerator} |")
    return "\n".join(lines)


def growth(results: Results) -> str:
    """Seconds of a step at each size, as Markdown; nothing where it was not measured."""
    if "growth" not in results:
        return ""
    families = results["growth"]["growth"]
    tables = []
    for against, size in (("batch", "batch"), ("pixels", "side")):
        rows = next(iter(families.values()))[against]
        head = f"| ms a step, {size} | {' | '.join(str(row[size]) for row in rows)} | grows as |"
        lines = [head, "| --- |" + " ---: |" * (len(rows) + 1)]
        for family, one in families.items():
            times = " | ".join(f"{1e3 * row['step_s']['median']:.3g}" for row in one[against])
            lines.append(f"| {family} | {times} | {against}^{one['exponent'][against]:.2f} |")
        tables.append("\n".join(lines))
    return "\n\n".join([*tables, "![time of a step against batch and pixels](../docs/images/growth.png)"])


# ------------------------------------------------------------------------------- what was asked


def _ratio(names: Iterable[str], bound: float) -> Callable[[Result], Seen]:
    """The best of these ratios. Raises KeyError where the record has none of them."""

    def read(record: Result) -> Seen:
        of = {name: record["ratios"][name] for name in names if name in record["ratios"]}
        if not of:
            raise KeyError(str(names))
        name = max(of, key=lambda key: of[key]["median"])
        low, high = of[name]["range"]
        return Seen(of[name]["median"], (low, high), bound, name, ".2f")

    return read


def _best_flags(record: Result) -> Seen:
    """Ours over the faster of diffusers' bf16 loops."""
    names = [name for name in record["ratios"] if "bf16" in name]
    name = min(names, key=lambda key: record["ratios"][key]["median"])
    low, high = record["ratios"][name]["range"]
    return Seen(record["ratios"][name]["median"], (low, high), 1.3, name, ".2f")


def _share(net: str, bound: float) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        row = record["rows"][f"ours, {net}"]
        low, high = (row["share_of_ceiling"] * end / row["images_per_s"] for end in row["range"])
        beside = f"{row['gflop_per_image']:.2f} GFLOP a picture, {row['million_parameters']:.1f} M parameters"
        return Seen(row["share_of_ceiling"], (low, high), bound, beside, ".0%")

    return read


def _peak(record: Result) -> Seen:
    peaks = {run["compile"]: run["peak_mb"] for run in record["runs"]}
    beside = ", ".join(f"compile {name}: {peak:,.0f}" for name, peak in peaks.items())
    beside += f"; {record['runs'][0]['steps']:,} steps"
    return Seen(max(peaks.values()), None, 1500.0, beside, ",.0f")


def _flat(record: Result) -> Seen:
    runs = [run for run in record["runs"] if run["growth_mb"] is not None]
    if not runs:
        raise KeyError("growth_mb")
    quarters = [f"compile {run['compile']}: {', '.join(f'{mb:,.0f}' for mb in run['quarters_mb'])} MB" for run in runs]
    return Seen(max(run["growth_mb"] / run["peak_mb"] for run in runs), None, FLAT, "; ".join(quarters), ".1%")


def _together(record: Result) -> Seen:
    ratio = record["together"]["ratio"]
    low, high = ratio["range"]
    return Seen(ratio["median"], (low, high), 1.6, record["together"]["what"], ".2f")


def _mlp(model: str, file: str, command: str, rival: str, name: str, bound: float) -> Row:
    names = (f"morphogen / {name}", f"morphogen-eager / {name}")
    asked = f"at least {bound:g}"

    def read(record: Result) -> Seen:
        if name not in record["contestants"]:
            raise LeftOut(name)
        return _ratio(names, bound)(record)

    return Row(f"classic MLP {model}, training, over {rival}", command, asked, "higher", (file,), read)


SPEED = (
    *(
        _mlp("VAE", "throughput", VAE, rival, name, bound)
        for rival, name, bound in (
            ("pythae's trainer", "pythae", 2.5),
            ("Keras' `fit`", "keras", 2.0),
            ("a bare compiled bf16 loop", "bare", 0.9),
        )
    ),
    *(
        _mlp("GAN", "throughput-gan", GAN, rival, name, bound)
        for rival, name, bound in (
            ("Keras' loop", "keras", 1.5),
            ("Keras' loop with XLA", "keras-xla", 1.3),
            ("torchgan's Trainer", "torchgan", 1.8),
            ("a bare bf16 loop", "bare", 0.9),
        )
    ),
    Row(
        "diffusion U-Net, training, over diffusers' example loop as published",
        DIFFUSION,
        "at least 2",
        "higher",
        ("diffusion-speed",),
        _ratio(("ours, equal / diffusers, as published",), 2.0),
    ),
    Row(
        "diffusion U-Net, training, over diffusers' best flags",
        DIFFUSION,
        "at least 1.3",
        "higher",
        ("diffusion-speed",),
        _best_flags,
    ),
    *(
        Row(
            f"diffusion U-Net of {net}, share of the best bf16 convolution",
            DIFFUSION,
            f"at least {100 * bound:g} %",
            "higher",
            ("diffusion-speed",),
            _share(net, bound),
        )
        for net, bound in (("width 64", 0.45), ("width 128", 0.60))
    ),
    *(
        Row(
            f"drawing, 20 evaluations, {batch} at a time, over diffusers' pipeline in {precision}",
            SAMPLING,
            "at least 1.5",
            "higher",
            ("sampling-speed",),
            _ratio(
                [f"ours, {mine} / diffusers, {precision}, batch {batch}" for mine in ("bf16", "bf16, compiled")], 1.5
            ),
        )
        for batch in (16, 1)
        for precision in ("fp32", "bf16")
    ),
    *(
        Row(
            f"drawing, 20 evaluations, {batch} at a time, over diffusers' pipeline in bf16, both compiled",
            SAMPLING,
            "at least 1.5",
            "higher",
            ("sampling-speed",),
            _ratio([f"ours, bf16, compiled / diffusers, bf16, compiled, batch {batch}"], 1.5),
        )
        for batch in (16, 1)
    ),
    Row(
        "two processes of one core over one, U-Net, global batch 64",
        GROWTH,
        "at least 1.6",
        "higher",
        ("growth",),
        _together,
    ),
    Row(
        "peak memory of training a VAE on MNIST, largest process, MB",
        MEMORY,
        "at most 1,500",
        "lower",
        ("memory",),
        _peak,
    ),
    Row(
        "memory over time: growth from the second to the last quarter of the steps",
        MEMORY,
        f"flat: at most {100 * FLAT:g} % of the peak",
        "lower",
        ("memory",),
        _flat,
    ),
    Row(
        "`morphogen quickstart`, seconds",
        "python -m benchmarks.run",
        "at most 360",
        "lower",
        ("quickstart",),
        lambda record: Seen(record["duration_s"], None, 360.0, "", ".0f"),
    ),
)
