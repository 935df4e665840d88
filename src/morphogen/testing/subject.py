"""`Subject`: the family that the checks look at, its data, and a model that is trained once, when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from morphogen import artifact
from morphogen.core import registry
from morphogen.core.batch import Batch
from morphogen.core.column_views import C, layout
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.testing.toy_data import mixed_table, ring, text_schema, with_captions, words
from morphogen.trainer import Recipe, fit

STEPS, RECORDS, STEPS_AN_EPOCH = 1500, 4096, 16


class NotApplicable(Exception):
    """The family does not declare what a check needs."""


class Subject:
    """The family under test, its data, and a model that is trained once, when first needed."""

    def __init__(
        self,
        family: type[Family],
        options: dict[str, Any],
        folder: Path,
        parts: Mapping[str, tuple[str, Mapping[str, Any]]],
        steps: int = STEPS,
        records: int = RECORDS,
        texts: bool = False,
        table: bool = False,
    ) -> None:
        self.family, self.folder, self.steps = family, folder, steps
        self.batch_size = max(1, records // STEPS_AN_EPOCH)
        self.stages = {name: (registry.family(of), chosen) for name, (of, chosen) in parts.items()}
        self.parts: dict[str, Any] = {}
        if "conditional" in family.Spec.model_fields:
            options = {"conditional": True, **options}
        if "text_encoder" in family.Spec.model_fields:
            options = {"text_encoder": "recurrent", **options}  # three times as fast
        self.spec = family.Spec.parse(options)
        toy = mixed_table if table else words if texts else ring
        self.train, self.test = toy(records, 0), toy(1000, 1)
        try:
            self.build()
        except SpecError:  # this family needs pictures
            if texts or table:
                raise
            digits = load("digits")
            self.train, self.test = digits.train.select(slice(0, records)), digits.split("test")
        if "text_encoder" in family.Spec.model_fields and not table:
            schema = text_schema()
            self.train, self.test = with_captions(self.train, schema), with_captions(self.test, schema)
        self.parts = {
            name: artifact.load(self.fit(f"part-{name}", steps, model=stage)).family
            for name, stage in self._untrained(seed=0).items()
        }
        self.raw: Any = None  # what was trained, as it is in memory: no average, never saved
        self._trained: Any = None

    @property
    def data(self) -> DataSpec:
        """The description of the data."""
        return self.train.spec

    def build(self, seed: int = 0) -> Any:
        """An untrained model of the family; its parts are trained."""
        parts = self.parts or self._untrained(seed)
        with Rng(seed).forked():
            return self.family(self.spec, self.data, parts)

    def _untrained(self, seed: int) -> dict[str, Any]:
        with Rng(seed).forked():
            return {name: of(of.Spec.parse(dict(chosen)), self.data) for name, (of, chosen) in self.stages.items()}

    def fit(self, out: str, steps: int, stop_at: int | None = None, resume: bool = False, model: Any = None) -> Path:
        """Train in `out`, perhaps only to the first event at or after step `stop_at`."""
        recipe = Recipe(
            steps=steps, batch_size=self.batch_size, precision="fp32", compile="off", device="cpu", log_every=5
        )
        events = fit(model or self.build(), self.stream(), recipe, self.folder / out, resume=resume)
        for event in events:
            if stop_at is not None and event.step >= stop_at:
                cast(Any, events).close()
                break
        return self.folder / out

    @property
    def trained(self) -> Any:
        """The trained model, as loaded from its artifact."""
        if self._trained is None:
            self.raw = self.build()
            self._trained = artifact.load(self.fit("trained", self.steps, model=self.raw)).family
            self.raw.eval()
        return self._trained

    def needs(self, capability: type) -> Any:
        """The trained model, if it declares the capability."""
        if capability not in self.trained.capabilities:
            raise NotApplicable(f"does not declare {capability.__name__}")
        return self.trained

    def view(self, stored: Tensor) -> Tensor:
        """Stored records as vectors (N, W) of about unit scale in all elements, to be compared by distance."""
        x = self.data.encode(stored).flatten(1).float()
        if self.data.table is not None:
            x[:, layout(self.data.table).at] *= C
        return x

    def independent(self, n: int, rng: Rng) -> Tensor:
        """`n` rows of a table whose columns come from different training records, as `view` shows them."""
        cells = self.train.stored
        rows = rng.integers("independent", n, len(cells), (cells.shape[1],))
        return self.view(cells.gather(0, rows))

    def stream(self) -> Stream:
        """The training records, in the order in which every training here sees them."""
        return Stream(self.train, self.batch_size, seed=0)

    def batch(self, n: int = 32) -> Batch:
        """The first `n` held-out records."""
        return self.test.batch(slice(0, n))


def as_float(x: Tensor) -> Tensor:
    """`x` as real numbers without its history."""
    return x.detach().float()
