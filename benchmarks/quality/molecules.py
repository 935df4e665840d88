"""Molecules: trained on ChEMBL, judged by MOSES's measures and FCD, and designed with counted oracle calls.

    python -m benchmarks.quality.molecules autoregressive    # 20 minutes of training; `autoregressive-60`: an hour
    python -m benchmarks.quality.molecules masked-diffusion  # 10 minutes, as are the next ones
    python -m benchmarks.quality.molecules completion        # scaffolds of held-out molecules, kept
    python -m benchmarks.quality.molecules vae
    python -m benchmarks.quality.molecules gan               # trains `autoencoder` first, as its part
    python -m benchmarks.quality.molecules char-rnn          # the baseline of MOSES, the same minutes
    python -m benchmarks.quality.molecules baselines         # what needs no model
    python -m benchmarks.quality.molecules conditional       # wanted logP and QED, beside unconditional rejection

They need the extras `molecules` and `fcd`. Of 10,000 drawn texts `product` is the share of different new molecules,
valid x unique x novel. FCD is the plain one of `fcd_torch`, which has a bias by the number of molecules, and so has its
floor, training molecules against held-out ones; without bias the floor is about 0.02, and that of copies of training
molecules 0.05.

References, of their papers: CharRNN of MOSES 0.82 (valid x unique x novel), VAE of MOSES 0.977 x 0.998 x 0.695,
LatentGAN 0.897 x 0.997 x 0.950, MolGAN about 10 % unique. Random SELFIES score about 1.0, with a hopeless FCD.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

import morphogen as mg
from benchmarks import harness
from benchmarks.harness import Asked, Json, Row, Run
from benchmarks.page.tables import Result, Seen, Target, at_least, at_most
from morphogen.data.molecules.chemistry import rdkit
from morphogen.data.molecules.inspection import scaffold
from morphogen.data.molecules.properties import compute
from morphogen.data.sequences.tokenizers import to_texts

N = 10_000
PLAIN = "chembl:attributes=none"
KEKULE = f"{PLAIN},kekule"
WANTED = ("logp", "qed")
KNOWING = f"chembl:attributes={'+'.join(WANTED)},kekule"
SELFIES = f"{PLAIN},tokens=selfies"
SCAFFOLDS, OF_EACH = 20, 50  # that are completed, and how often

DRAWN: dict[str, Json] = {"masked-diffusion": {"steps": 16}}  # of about 40 tokens; each step is a whole pass
CHAR_RNN: Json = {"hidden": 512, "layers": 1, "seconds": 1200.0}


def texts(split: str) -> list[str]:
    """The SMILES of a split."""
    data = mg.load_data(PLAIN)
    schema = data.spec.sequence
    assert schema is not None
    return to_texts(schema, data.split(split).stored)


def char_rnn(quick: bool) -> Json:
    """The baseline of MOSES, trained for the same seconds of a core."""
    from benchmarks.peers import char_rnn as peer

    how = {**CHAR_RNN, "seconds": 1.0} if quick else CHAR_RNN
    model, took = peer.train(texts("train"), texts("validation")[:500], seed=0, **how)
    start = time.perf_counter()
    n = 100 if quick else N
    drawn = model.sample(n, 0)
    seconds = time.perf_counter() - start
    return {"n": n, "training": took, "molecules_per_second": n / seconds, **_judged(drawn, quick)}


def judge(run: Run) -> Json:
    """All measures of drawn molecules, and how many are drawn a second."""
    n = run.n(N)
    model = mg.load(run.model, "cpu")
    start = time.perf_counter()
    drawn = model.sample(n, 0, batch_size=256, **DRAWN.get(run.row.name, {})).texts
    seconds = time.perf_counter() - start
    return {"n": n, "molecules_per_second": n / seconds, **_judged(drawn, run.quick)}


def _judged(drawn: Sequence[str], quick: bool, baselines: Sequence[str] | None = ()) -> Json:
    names = ["valid", "unique", "novel", "product", "filters", "diversity", "snn", "fragments", "scaffolds"]
    names += ["qed", "logp", "sa", "mol_wt"] + ([] if quick else ["fcd"])
    found = mg.evaluate_molecules(drawn, PLAIN, names, baselines=baselines)
    return {"measures": {r.name.split("-")[0].lower(): r.to_dict() for r in found}}


def trivial(quick: bool) -> Json:
    """Training molecules in the place of drawn ones, beside all baselines."""
    n = 100 if quick else N
    copies = texts("train")[:n]
    return {"n": n, **_judged(copies, quick, ["copies"] if quick else None)}


def judge_wanted(run: Run) -> Json:
    """How well asked values are met, and by rejection from as many molecules drawn without asking."""
    n = run.n(1000)
    model = mg.load(run.model, "cpu")
    data = mg.load_data(KNOWING)
    asked = data.split("test").attributes
    assert asked is not None
    texts = model.sample(n, 1).texts
    plain = [text for text, known in zip(texts, np.isfinite(compute(["logp"], texts)[:, 0]), strict=True) if known]
    values = compute(WANTED, plain)
    out: Json = {"n": n}
    rng = np.random.default_rng(0)
    for column, name in enumerate(WANTED):
        wanted = rng.choice(asked[:, column].numpy(), size=20)
        low, high = (float(getattr(data.spec.attributes[column], end) or 0.0) for end in ("low", "high"))
        errors, valid = [], []
        for value in wanted.clip(low, high):
            drawn = model.sample(max(4, n // 20), 2, attributes={name: float(value)}).texts
            got = compute([name], drawn)[:, 0]
            valid.append(float(np.isfinite(got).mean()))
            errors.append(float(np.nanmean(np.abs(got - value))))
        nearest = [float(np.abs(values[:, column] - value).min()) for value in wanted]
        out[name] = {
            "error": float(np.mean(errors)),
            "valid": float(np.mean(valid)),
            "rejection": float(np.mean(nearest)),
        }
    return out


def judge_completed(run: Run) -> Json:
    """Whether molecules that are drawn around scaffolds hold these, by a search of RDKit's own."""
    model = mg.load(run.model, "cpu")
    known = sorted({found for text in texts("test") if (found := scaffold(text)) and "." not in found})
    order = np.random.default_rng(0).permutation(len(known))
    chosen = [known[i] for i in order[: run.n(SCAFFOLDS)]]
    chem, new, out = rdkit(), set(texts("train")), list[Json]()
    for one in chosen:
        query, start = chem.MolFromSmiles(one), time.perf_counter()
        try:
            completed = mg.complete(model, one, run.n(OF_EACH), 0)
        except mg.UsageError as error:
            out.append({"scaffold": one, "molecules": 0, "why": str(error)})
            continue
        drawn = [chem.MolFromSmiles(text) for text in completed.texts]
        held = sum(m is not None and m.HasSubstructMatch(query) for m in drawn)
        different = len({chem.MolToSmiles(m) for m in drawn if m is not None} - new)
        seconds = time.perf_counter() - start
        out.append({"scaffold": one, "molecules": len(drawn), "held": held, "new": different, "seconds": seconds})
    total = sum(found["molecules"] for found in out)
    return {
        "scaffolds": out,
        "asked": run.n(SCAFFOLDS) * run.n(OF_EACH),
        "molecules": total,
        "held": sum(found.get("held", 0) for found in out) / max(1, total),
        "different and new": sum(found.get("new", 0) for found in out) / max(1, total),
    }


def _measure(name: str, target: Target, what: str) -> Asked:
    def read(record: Result) -> Seen:
        found = record["measures"][name]
        said = "".join(f"{k} {v:.3g}, " for k, v in found["baselines"].items())
        return Seen(
            found["value"],
            tuple(found["interval"]) if found["interval"] else None,
            f"{said}floor {found['floor']:.3g}",
        )

    return Asked(what, target, read)


def _plain_fcd(record: Result) -> tuple[tuple[float, tuple[float, float]], tuple[float, float]]:
    """The distance as `fcd_torch` gives it, with its bias, and its interval; the same of the floor and its bias."""
    found = record["measures"]["fcd"]
    bias, floor_bias = found["details"]["bias"], found["details"]["floor_bias"]
    low, high = found["interval"]
    return (found["value"] + bias, (low + bias, high + bias)), (found["floor"] + floor_bias, floor_bias)


def _fcd_over_floor() -> Asked:
    def read(record: Result) -> Seen:
        (value, ends), (floor, _) = _plain_fcd(record)
        return Seen(
            value, ends, f"floor {floor:.3g}; without bias {record['measures']['fcd']['value']:.3g}", bound=3.0 * floor
        )

    return Asked("FCD of 10,000 molecules", at_most(None, "at most 3 times its floor"), read)


def _below_char_rnn() -> Asked:
    def read(record: Result, peer: Result) -> Seen:
        (value, ends), _ = _plain_fcd(record)
        (theirs, _), _ = _plain_fcd(peer)
        product = peer["measures"]["product"]["value"]
        return Seen(value, ends, f"CharRNN {theirs:.3g} with a product of {product:.3f}", bound=theirs)

    target = at_most(None, "below the FCD of a CharRNN of the same minutes")
    return Asked("FCD beside the CharRNN's", target, read, ("molecules-char-rnn",))


def _wanted(name: str, most: float) -> Asked:
    def read(record: Result) -> Seen:
        found = record[name]
        return Seen(
            found["error"], None, f"rejection from {record['n']:,} drawn without asking {found['rejection']:.3g}"
        )

    return Asked(f"mean absolute error of {name}, asked over the range of the data", at_most(most), read)


def _valid_when_asked() -> Asked:
    target = at_least(0.90)
    return Asked(
        "valid when asked", target, lambda record: Seen(min(record[name]["valid"] for name in WANTED), None, "")
    )


def _held() -> Asked:
    def read(record: Result) -> Seen:
        total, with_any = record["molecules"], sum(found["molecules"] > 0 for found in record["scaffolds"])
        said = f"{total} of {record['asked']} asked for, of {with_any} of {len(record['scaffolds'])} scaffolds"
        return Seen(record["held"], None, f"{said}; {record['different and new']:.3g} different and new")

    return Asked("molecules drawn around a scaffold that hold it", at_least(1.0), read)


def _asked(product: float, *others: Asked) -> tuple[Asked, ...]:
    return (_measure("product", at_least(product), "valid x unique x novel of 10,000 molecules"), *others)


RECIPE = {"budget": "20min", "batch_size": 32, "compile": "off", "precision": "fp32", "sheet_seconds": 600}
SHORT = {**RECIPE, "budget": "10min"}
MUON = {"optimizer": "muon"}  # 38.1 nats after 400 steps, AdamW 42.2
SMALL = {"token_width": 128, "token_blocks": 4}
AUTOENCODER = Row(
    "molecules",
    "autoencoder",
    "latents of molecules",
    "autoencoder",
    KEKULE,
    {**RECIPE, "budget": "6min"},
    options={"text_width": 160, **MUON},
)
# fmt: off
ROWS = harness.by_name(
    Row("molecules", "autoregressive", "autoregressive model, 20 minutes", "autoregressive", KEKULE, RECIPE, judge,
        {**SMALL, **MUON}, asked=_asked(0.90, _fcd_over_floor(), _below_char_rnn())),
    Row("molecules", "autoregressive-60", "autoregressive model, an hour, AdamW", "autoregressive", KEKULE,
        {**RECIPE, "budget": "60min"}, judge, SMALL, asked=_asked(0.94, _fcd_over_floor())),
    Row("molecules", "masked-diffusion", "masked diffusion, 10 minutes", "masked_diffusion", SELFIES, SHORT, judge,
        {"width": 160}, asked=_asked(0.80)),
    Row("molecules", "completion", "masked diffusion of SMILES, 10 minutes: scaffolds kept", "masked_diffusion", KEKULE,
        SHORT, judge_completed, {"width": 160, **MUON}, asked=(_held(),)),
    Row("molecules", "vae", "VAE, 10 minutes", "vae", KEKULE, SHORT, judge,
        {"text_width": 160, "latent_dim": 64, "beta": 0.1}, asked=_asked(0.80)),
    AUTOENCODER,
    Row("molecules", "gan", "GAN of latents, 5 minutes after 6 of the autoencoder", "gan", KEKULE,
        {**RECIPE, "budget": "5min"}, judge, parts={"autoencoder": AUTOENCODER},
        asked=_asked(0.70, _measure("unique", at_least(0.98), "different among 10,000 molecules"))),
    Row("molecules", "conditional", "wanted logP and QED", "autoregressive", KNOWING, RECIPE, judge_wanted,
        {**SMALL, **MUON, "conditional": True},
        asked=(_wanted("logp", 0.35), _wanted("qed", 0.06), _valid_when_asked())),
)
# fmt: on
FIGURES = harness.figures("quality.molecules", ROWS)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return harness.row_parser(__doc__, ROWS, "char-rnn", "baselines")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and write."""
    asked = parser().parse_args(arguments)
    others = {"char-rnn": ("CharRNN of MOSES, the same minutes", char_rnn), "baselines": ("no model", trivial)}
    if asked.row in others:
        what, made = others[asked.row]
        record = {"what": what, **made(asked.quick)}
        harness.write(harness.path_of(f"molecules-{asked.row}", asked.quick), record)
    else:
        harness.run_rows(ROWS, asked)


if __name__ == "__main__":
    main()
