"""What was asked of generated pictures: rows of the results page."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.results_rows import LeftOut, Result, Row, Seen, named, ratio, rung, seen_of, short

# ------------------------------------------------------------------------------- diffusion


def _few(distilled: Result, teacher: Result) -> Seen:
    each = [f"{name}: {value['value']:.3g}" for name, value in distilled["fd"].items()]
    return seen_of(distilled["fd"]["2 evaluations, n = 10000"], 2 * teacher["fd"]["value"], distilled, *each)


def _half_of_diffusers(ours: Result, theirs: Result) -> Seen:
    rival = min((v for k, v in theirs.items() if k != "training"), key=lambda v: v["value"])
    minutes = f"{ours['training']['duration_s'] / 60:.0f} and {theirs['training']['minutes']:.0f} minutes of training"
    return ratio(ours["fd"], rival, 0.5, minutes)


def _best(found: Result, evaluations: int) -> Result:
    """The best stepper at so many evaluations. Raises KeyError."""
    of = [value for name, value in found.items() if name.endswith(f", {evaluations} evaluations")]
    if not of:
        raise KeyError(evaluations)
    best: Result = min(of, key=lambda value: value["value"])
    return best


def _fewer(evaluations: int, most: float) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        few, many = _best(record["sweep"], evaluations), _best(record["sweep"], 50)
        return ratio(few, many, most, f"n = {few['n']:,}")

    return read


def _samplers(evaluations: int) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        ours, theirs = _best(record["sweep"], evaluations), _best(record["their samplers"], evaluations)
        return ratio(ours, theirs, 1.0, f"n = {ours['n']:,}", "each the best of its steppers")

    return read


def _steppers(record: Result) -> Seen:
    within = sum(row["within"] for row in record["rows"])
    return Seen(within / len(record["rows"]), None, 1.0, text=f"{within} of {len(record['rows'])} cases")


def _restored(record: Result) -> Seen:
    baseline, coverage = record["psnr_baseline"]["value"], record["coverage"]
    beside = f"interpolation {baseline:.2f} dB", f"95 % intervals of pixels cover {100 * coverage['value']:.1f} %"
    return seen_of({**record["psnr_difference"], "n": record["n"]}, 0.0, None, *beside, form="+.2f")


FASHION = "python -m benchmarks.diffusion fashion"
DIFFUSION = (
    Row(
        "Fashion-MNIST, Frechet distance, 50 evaluations",
        FASHION,
        "below that of real pictures cut to 200 principal components",
        "lower",
        ("diffusion-fashion",),
        lambda record: seen_of(
            record["fd"],
            rung(record["fd"], "PCA", "200"),
            record,
            f"the bound is {rung(record['fd'], 'PCA', '200'):.4g}",
        ),
    ),
    Row(
        "the same over diffusers' at its best, both distances",
        "python -m benchmarks.diffusion diffusers",
        "at most 0.5",
        "lower",
        ("diffusion-fashion", "diffusion-diffusers"),
        _half_of_diffusers,
    ),
    *(
        Row(
            f"{k} evaluations over 50, distances",
            FASHION,
            f"at most {most:g}",
            "lower",
            ("diffusion-fashion",),
            _fewer(k, most),
        )
        for k, most in ((20, 1.1), (10, 1.3))
    ),
    *(
        Row(
            f"{k} evaluations: our best stepper over diffusers' best, same network, distances",
            FASHION,
            "at most 1",
            "lower",
            ("diffusion-fashion",),
            _samplers(k),
        )
        for k in (20, 10)
    ),
    Row(
        "distilled, 2 evaluations, Frechet distance",
        "python -m benchmarks.diffusion few",
        "at most twice that of 50 evaluations",
        "lower",
        ("diffusion-few", "diffusion-fashion"),
        _few,
    ),
    Row(
        "steppers whose measured order is within 0.2 of the declared one",
        "python -m benchmarks.steppers",
        "all",
        "higher",
        ("steppers",),
        _steppers,
    ),
    *(
        Row(
            f"restoring {task.replace('-', ', ')}: PSNR of the mean above interpolation, dB",
            f"python -m benchmarks.restoration {task}",
            "above 0",
            "higher",
            (f"restoration-{task}",),
            _restored,
        )
        for task in ("mnist-4x", "mnist-hole", "aerial-4x", "aerial-hole")
    ),
)


# ------------------------------------------------------------------------------- adversarial


def _points(mixture: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        of = record[mixture]
        ours = of["default"]
        modes = ", ".join(f"{one['modes']} of {one['of']}" for one in ours)
        plain = ", ".join(f"{one['modes']} modes, {one['good']:.1%}" for one in of["minimax, no penalty"])
        chosen = ", ".join(f"{one['chosen']['good']:.1%}" for one in ours)
        beside = f"modes found: {modes}; the best of 8 candidates: {chosen}; truth {of['truth']['good']:.1%}"
        beside += f"; minimax without a penalty: {plain}"
        least = min(one["good"] if one["modes"] == one["of"] else 0.0 for one in ours)  # a lost mode fails the seed
        return Seen(least, None, 0.95, beside, ".1%")

    return read


def _stacked(pick: Callable[[list[Result]], float], bound: float, form: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        seeds, real = record["seeds"], record["real"]
        each = "; ".join(f"{one['modes']} modes, KL {one['kl']:.3f}" for one in seeds)
        count = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        return Seen(pick(seeds), None, bound, f"{count}: {each}; real stacks {real['modes']}, {real['kl']:.3f}", form)

    return read


def _rival(name: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        minutes = f"{record['minutes']:g} minutes of training each"
        return ratio(record["fashion"]["fd"], record[name]["fd"], 0.5, minutes)

    return read


def _enhanced(record: Result) -> Seen:
    ways = [
        f"{name}: FD {short(record[name]['fd'])}, PSNR {record[name]['psnr']['value']:.2f} dB,"
        f" SSIM {record[name]['ssim']['value']:.3f}"
        for name in ("aerial", "aerial-l1", "bicubic")
    ]
    return ratio(record["aerial"]["fd"], record["bicubic"]["fd"], 0.5, *ways, f"n = {record['n']}")


STACKED = "python -m benchmarks.gan stacked"
PICTURES = "python -m benchmarks.gan_pictures fashion"
ADVERSARIAL = (
    *(
        Row(
            f"{name}: least share of samples within 3 sigma, all modes found, over seeds",
            "python -m benchmarks.gan points",
            "over 95 %, all modes, each seed",
            "higher",
            ("gan-points",),
            _points(mixture),
        )
        for name, mixture in (("ring of 8 Gaussians", "ring"), ("grid of 25 Gaussians", "grid"))
    ),
    *(
        Row(f"stacked MNIST: {what}", STACKED, asked, better, ("gan-stacked",), _stacked(pick, bound, form))
        for what, asked, better, pick, bound, form in (
            ("modes, median", "at least 990", "higher", lambda s: median(one["modes"] for one in s), 990, ".0f"),
            ("modes, least", "at least 950", "higher", lambda s: min(one["modes"] for one in s), 950, ".0f"),
            (
                "KL from equal shares, largest",
                "at most 0.15",
                "lower",
                lambda s: max(one["kl"] for one in s),
                0.15,
                ".3f",
            ),
        )
    ),
    Row(
        "Fashion-MNIST, Frechet distance",
        PICTURES,
        "below that of real pictures blurred by 0.5 px",
        "lower",
        ("gan-fashion",),
        lambda record: seen_of(
            record["fashion"]["fd"], rung(record["fashion"]["fd"], "blur", "0.5 px"), record["fashion"]
        ),
    ),
    *(
        Row(
            f"the same over {rival}, both distances",
            PICTURES,
            "below 0.5",
            "lower",
            ("gan-fashion",),
            _rival(name),
        )
        for rival, name in (("the classic pair's", "fashion-classic"), ("a Keras DCGAN's", "fashion-keras"))
    ),
    Row(
        "aerial pictures enlarged 4 times: Frechet distance over bicubic's",
        "python -m benchmarks.gan_pictures aerial",
        "at most 0.5",
        "lower",
        ("gan-aerial",),
        _enhanced,
    ),
)


# ------------------------------------------------------------------------------- equal time


HALF = 0.5  # of a rival's distance is asked for at most


def _as_long(mine: str, rivals: tuple[str, ...]) -> Callable[[Result], Seen]:
    """Ours over the best of theirs. Where one was not trained, only a miss is told: others can but confirm it.

    Raises LeftOut where the two were trained on different machines.
    """

    def read(record: Result) -> Seen:
        there, lacking = ([n for n in rivals if (n in record) is trained] for trained in (True, False))
        if not there:
            raise KeyError(lacking[0])
        best = min((record[name] for name in there), key=lambda one: one["fd"]["value"])
        if lacking and record[mine]["fd"]["value"] <= HALF * best["fd"]["value"]:
            raise KeyError(lacking[0])
        ours, threads = record[mine], record["threads"]
        if (here := _processor(ours)) != (there := _processor(best)):
            raise LeftOut(f"trained on other machines: {here}, {there}")
        plural = "s" if threads > 1 else ""
        each = f"{ours['what']}; {best['what']}", f"{record['minutes']:g} min, {threads} thread{plural} each"
        sizes = f"n = {ours['fd']['n']:,} and {best['fd']['n']:,}"
        left = [f"not trained: {', '.join(lacking)}"] if lacking else []
        return ratio(ours["fd"], best["fd"], HALF, *each, sizes, *left)

    return read


def _processor(one: Result) -> str:
    return str(one["training"]["hardware"]["cpu"])


EQUAL_TIME = tuple(
    Row(
        f"Fashion-MNIST after as many minutes: {what}, Frechet distances",
        "python -m benchmarks.equal_time",
        "at most 0.5",
        "lower",
        ("equal-time",),
        _as_long(name, rivals),
    )
    for what, name, rivals in (
        ("our best of the VAE family over pythae's best", "vae", ("pythae-rae", "pythae-rae-mlp", "pythae-vaegan")),
        ("our GAN over a Keras DCGAN", "gan", ("keras",)),
        ("our diffusion over diffusers'", "diffusion", ("diffusers",)),
    )
)


# ------------------------------------------------------------------------------- words


def _parser(record: Result) -> Seen:
    shares = [
        kind["everything"]["value"]
        for side in record["sides"].values()
        for name, kind in side.items()
        if name == "as drawn" or name.startswith("blurred")
    ]
    return Seen(min(shares), None, 1.0, f"the least of {len(shares)} sizes and blurs, n = {record['n']:,} each", ".1%")


def _aligned(what: str, row: str, split: str, least: float) -> Row:
    return Row(
        f"`shapes` from words, {what}: everything right, {'seen' if split == 'test' else 'withheld'} triples",
        f"python -m benchmarks.alignment {row}",
        f"at least {100 * least:g} %",
        "higher",
        (f"alignment-{row}",),
        lambda record: seen_of(named(record, f"aligned-everything-{split}"), least, record, form=".1%"),
    )


def _above_nearest(measure: str) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        found = named(record, f"aligned-{measure}-test_combo")
        value, (low, high) = found["details"]["above"]["nearest training caption"]
        return Seen(value, (low, high), 0.0, f"{found['value']:.3f}, real pictures {found['floor']:.3f}", "+.3f")

    return read


def _of_real(record: Result) -> Seen:
    found = named(record, "aligned-recall_at_5-test_combo")
    floor = found["floor"]
    low, high = found["interval"]
    others = found["baselines"]["captions of others"]
    beside = f"{found['value']:.3f}, real pictures {floor:.3f}, captions of others {others:.3f}, n = {found['n']:,}"
    return Seen(found["value"] / floor, (low / floor, high / floor), 0.6, beside, ".1%")


EMOJI = "python -m benchmarks.alignment emoji-diffusion"
WORDS = (
    Row(
        "the parser on real pictures, also blurred: everything right",
        "python -m benchmarks.alignment parser",
        "100 %",
        "higher",
        ("alignment-parser",),
        _parser,
    ),
    _aligned("diffusion", "shapes-diffusion", "test", 0.97),
    _aligned("diffusion", "shapes-diffusion", "test_withheld", 0.90),
    _aligned("GAN", "shapes-gan", "test", 0.75),
    _aligned("GAN", "shapes-gan", "test_withheld", 0.55),
    *(
        Row(
            f"`emoji`, unseen combinations: {measure} above the nearest training caption's",
            EMOJI,
            "above 0",
            "higher",
            ("alignment-emoji-diffusion",),
            _above_nearest(measure),
        )
        for measure in ("tone", "gender")
    ),
    Row(
        "`emoji`, unseen combinations: recall@5 as a share of real pictures'",
        EMOJI,
        "at least 60 %",
        "higher",
        ("alignment-emoji-diffusion",),
        _of_real,
    ),
)
