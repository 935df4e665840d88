"""The examples of the reference run: every `>>>` line in the docstring of a public name, on tiny models.

What an example shows as its output has to come; a value that it does not show may be anything. Trainings take a step.
"""

from __future__ import annotations

import doctest
import inspect
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import morphogen as mg
from morphogen.core import registry

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
SHAPES = "shapes:size=16,n=1500"
NETWORK: dict[str, Any] = {"widths": (16, 16), "blocks": (1,), "attention": 1}
SMALL = [
    (r"\bsteps=\d+", "steps=1"),
    (r"\bn=100\b", "n=8"),
    (r"\bcalls=500\b", "calls=20"),
    (r'"chembl", \["product", "fcd"\]', '"molecules.smi", ["product"], baselines=["copies"], n=32'),
]
NAMES = [name for name in mg.__all__ if inspect.isfunction(getattr(mg, name)) or inspect.isclass(getattr(mg, name))]
LONG = ("alignment_curve", "evaluate_samples", "Exported", "Audit")  # they draw and judge hundreds, or export
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(mg, name))]


class Shown(doctest.OutputChecker):
    """An example without an output promises none."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def pictures(folder: Path, n: int, size: int) -> None:
    rng = np.random.default_rng(size)
    folder.mkdir()
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")


def patients(file: Path, n: int) -> None:
    """A table with a fifth of the weights missing."""
    rng = np.random.default_rng(n)
    rows = (
        f"{'fm'[rng.integers(2)]},{rng.integers(18, 95)},{f'{rng.normal(70, 9):.1f}' if rng.random() > 0.2 else ''}\n"
        for _ in range(n)
    )
    file.write_text("sex,age,weight\n" + "".join(rows))


def molecules(file: Path) -> None:
    """Chains with a ring or a group at the end."""
    ends = ("O", "N", "C(=O)O", "OC", "C1CC1", "c1ccccc1", "C(N)=O", "F", "S", "C#N")
    file.write_text("\n".join(f"{'C' * length}{end}" for length in range(1, 13) for end in ends))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the models and the pictures that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pictures(folder / "photos", 24, 16)
        pictures(folder / "made-by-others", 300, 8)
        for name, size in (("small", 4), ("cat", 16), ("noisy", 16), ("face", 8)):
            shutil.copy("photos/000.png" if size == 16 else "made-by-others/000.png", f"{name}.png")
            with Image.open(f"{name}.png") as image:
                image.resize((size, size)).save(f"{name}.png")
        mg.train("vae", "digits", "runs/first", latent_dim=4, hidden=(16,), steps=1)
        mg.train("vae", "digits", "runs/second", latent_dim=4, hidden=(16,), steps=1, seed=1)
        mg.train("vae", "digits", "runs/plane", latent_dim=2, hidden=(16,), steps=1)
        mg.train("gan", "digits", "runs/gan", steps=1, batch_size=16)
        pixels = mg.train("autoregressive", "digits", "runs/pixels", width=8, inner=4, blocks=1, hidden=4, steps=1)
        mg.quantize(pixels, "runs/integers", "digits", n=2)
        few = {"steps": 2}
        mg.train("diffusion", "digits", "runs/diffusion", variance="learned", steps=1, options=few, **NETWORK)
        mg.train("diffusion", SHAPES, "runs/words", conditional=True, steps=1, options=few, **NETWORK)
        mg.train("diffusion", "photos", "runs/photos", steps=1, batch_size=8, options=few, **NETWORK)
        patients(folder / "patients.csv", 300)
        mg.train("diffusion", "patients.csv", "runs/patients", hidden=(16,), steps=1, batch_size=32, options=few)
        if find_spec("rdkit"):
            molecules(folder / "molecules.smi")
            tiny: dict[str, Any] = {"token_width": 32, "token_blocks": 1}
            mg.train("autoregressive", "molecules.smi", "runs/molecules", steps=1, batch_size=32, **tiny)
            small: dict[str, Any] = {"width": 32, "blocks": 1, "lr": 5e-3}
            mg.train("masked_diffusion", "molecules.smi", "runs/masked", steps=150, batch_size=32, **small)
        yield folder


def examples(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(getattr(mg, name).__doc__ or "")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in NAMES if examples(n)]
)
def test_an_example_runs(name: str, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examples(name)
    if not find_spec("rdkit") and any("molecules" in example.source for example in found):
        pytest.skip("needs the extra molecules")
    monkeypatch.setattr(registry, "_registered", {})  # a family that an example registers is gone after it
    trains = any(re.search(r"mg\.train(ing)?\(", example.source) for example in found)
    monkeypatch.chdir(tmp_path if trains else ready)  # a training makes the models that it names
    for example in found:
        for pattern, replacement in SMALL:
            example.source = re.sub(pattern, replacement, example.source)
    test = doctest.DocTest(found, {"mg": mg}, name, None, 0, None)
    said: list[str] = []
    failed = doctest.DocTestRunner(Shown(), optionflags=doctest.ELLIPSIS).run(test, out=said.append).failed
    assert not failed, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_what_a_reader_needs(name: str) -> None:
    said = inspect.getdoc(getattr(mg, name)) or ""
    line = said.splitlines()[0] if said else ""
    assert line.endswith((".", ":")) and len(line) <= 120, f"mg.{name} begins with one sentence on one line"
    if name in FUNCTIONS:
        parameters = inspect.signature(getattr(mg, name)).parameters
        wanted = [*(["Args:"] if parameters else []), "Returns:", "Raises:", "Example:"]
        assert [part for part in wanted if not re.search(rf"^{part}$", said, re.MULTILINE)] == []
        described = said.partition("Args:\n")[2].partition("Returns:\n")[0]
        assert [p for p in parameters if not re.search(rf"\b{p}\b", described)] == [], f"mg.{name}: name each argument"
