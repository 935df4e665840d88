"""The check `privacy`: every attack that the model and the data allow, and a bound of epsilon beside the claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from morphogen.core.capabilities import Samples
from morphogen.core.errors import CapabilityError, MorphogenError
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.evaluation.result import Result
from morphogen.safeguards.audit import Finding, Subject
from morphogen.safeguards.privacy import canaries, controls, membership, nearest
from morphogen.safeguards.privacy.candidates import Candidates, candidates
from morphogen.safeguards.privacy.claim import DELTA, violation
from morphogen.safeguards.privacy.membership import Attack
from morphogen.safeguards.privacy.reference_models import Retrain, check_pairs, ratios, references
from morphogen.safeguards.privacy.scores import Scorer, own_score, scores
from morphogen.safeguards.privacy.tables.attacks import table_attacks
from morphogen.theory.statistics import roc
from morphogen.theory.statistics.intervals import Estimate
from morphogen.theory.statistics.roc import Curve


@dataclass(frozen=True)
class PrivacyCheck:
    """What the check does.

    retrain     trains a model by the recipe of the audited one; None: no reference models and no canaries
    references  how many reference models; 0: none
    canaries    how many canaries, half of which are planted; 0: none
    """

    retrain: Retrain | None = None
    references: int = 0
    canaries: int = 0

    def __post_init__(self) -> None:  # before any attack, which takes long
        if self.references:
            check_pairs(self.references)
        if self.canaries:
            canaries.check_enough(self.canaries)

    def __call__(self, subject: Subject) -> Finding:
        return _Run(self, subject, candidates(subject)).finding()


@dataclass
class _Run:
    """One run of the check, and what it has found so far."""

    how: PrivacyCheck
    subject: Subject
    of: Candidates
    results: list[Result] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def finding(self) -> Finding:
        parts: dict[str, Callable[[], None]] = {"scores": self._by_scores, "nearest": self._by_samples}
        if self.how.canaries:
            parts["canaries"] = self._by_canaries
        for name, part in parts.items():
            try:
                part()
            except MorphogenError as error:
                if name == "canaries" or (name == "scores" and self.how.references):
                    raise  # they were asked for
                self.left_out[name] = str(error)
        notes = []
        if self.subject.is_another:
            notes.append(
                "these data are not those that the model was trained on (their fingerprint differs): their training"
                " split is taken for its training records."
            )
        return Finding(
            tuple(self.results), self.left_out, tuple(notes), tuple(self.violations), self.curves, self.facts
        )

    def _by_scores(self) -> None:
        family, seed = self.subject.family, self.subject.seed
        own = own_score(family)
        if own is None:
            self.left_out["scores"] = f"a {family.name!r} model gives records no score."
            return
        (name, scorer), began = own, time.perf_counter()
        member, other = (scores(scorer, family, records, seed) for records in (self.of.members, self.of.others))
        planted, notes = self._planted_in_scores(scorer)
        self._add(Attack(name, f"own score of the model: {name}", member, other, planted, notes, began))
        if self.how.references and self.how.retrain is not None:
            began = time.perf_counter()
            models = references(self.subject, self.how.references, self.how.retrain)
            ratio = ratios(self.subject, self.of, scorer, (member, other), models)
            how = f"likelihood ratio (RMIA) of the score {name} with {len(models)} reference models"
            self._add(Attack("ratio", how, *ratio, began=began))

    def _planted_in_scores(self, scorer: Scorer) -> tuple[Estimate | None, tuple[str, ...]]:
        try:
            return controls.planted(self.subject.family, scorer, self.of.others, self.subject.seed), ()
        except CapabilityError as error:
            return None, (f"no copies could be planted: {error}",)

    def _by_samples(self) -> None:
        if Samples not in self.subject.family.capabilities:
            self.left_out["nearest"] = f"a {self.subject.family.name!r} model draws no samples."
            return
        began, others = time.perf_counter(), self.of.others
        samples, near = nearest.drawn(self.subject), nearest.nearness(self.subject)
        member, other = (near(records.stored, samples) for records in (self.of.members, others))
        count = min(len(others) // 2, len(samples) // 2)
        with_copies = near(others.stored, nearest.with_copies(samples, others.select(slice(0, count))))
        planted = roc.auc(with_copies[:count], with_copies[count:]) if count else None
        how = f"distance to the nearest of {len(samples):,} samples"
        self._add(Attack("nearest", how, member, other, planted, began=began))
        if self.subject.dataset.spec.table is not None:
            self.results += table_attacks(self.subject, self.of, samples)

    def _by_canaries(self) -> None:
        assert self.how.retrain is not None
        own = own_score(self.subject.family)
        if own is None:
            self.left_out["canaries"] = f"a {self.subject.family.name!r} model gives records no score to guess by."
            return
        began = time.perf_counter()
        planted = canaries.plant(self.subject, self.how.canaries)
        trained = canaries.train_with(self.subject, planted, self.how.retrain)
        claim = trained.claim
        delta = DELTA if claim is None else claim.delta
        found = canaries.bound(self.subject, planted, trained.family, own[1], delta)
        self.facts["canaries"] = found.to_dict()
        if claim is not None:
            self.facts["claim"] = claim.to_dict() | {"sentence": claim.sentence()}
        if (said := violation(claim, found)) is not None:
            self.violations.append(said)
        self.results.append(_bound_result(self.subject, found, claim, own[0], round(time.perf_counter() - began, 2)))

    def _add(self, attack: Attack) -> None:
        result, curve = membership.result_of(attack, self.subject)
        self.results.append(result)
        self.curves[result.name] = curve


def _bound_result(
    subject: Subject, found: canaries.Bound, claim: PrivacyGuarantee | None, score: str, duration_s: float
) -> Result:
    m = found.guesses[0].m
    beside = {"Gaussian noise": found.gaussian} | ({} if claim is None else {"claim": claim.epsilon})
    return Result(
        name="epsilon-bound",
        value=found.epsilon,
        interval=None,
        unit=f"epsilon at delta {found.delta:g}",
        n=m,
        better="lower",
        protocol=f"lower bound at 95 % from guesses on {m:,} canaries by {score}, half of them planted in one training",
        baselines=beside,
        details=found.to_dict(),
        duration_s=duration_s,
        **subject.about(),
    )
