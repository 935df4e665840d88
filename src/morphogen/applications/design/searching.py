r"""Three ways to use a model and a counted oracle: each asks until no call is left.

**Latents** (CMA-ES; Hansen and Ostermeier, 2001): a normal distribution over latents moves towards those whose
molecules score best, and is begun again, elsewhere, when it has become narrow.

**Tuning** (REINVENT; Olivecrona et al., 2017): a copy of the model, the agent, draws molecules, and takes steps on

    (log p_prior(x) + sigma S(x) - log p_agent(x))^2,

whose minimum is p_agent ~ p_prior exp(sigma S). The prior is the model itself, and never changes. The best molecules so
far are trained on again, and a scaffold that was found often scores less (Blaschke et al., 2020), so that they differ.

**Neighbors**: the best molecules so far are edited, by an atom, a bond or a substituent. It needs no model but for its
start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.design.oracle import Answer, CountedOracle, Exhausted
from morphogen.core.batch import Batch
from morphogen.core.capabilities import Encodes, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, Progress, require
from morphogen.core.rng import Rng
from morphogen.data.molecules.edits import variant
from morphogen.data.molecules.inspection import scaffold
from morphogen.data.molecules.reading import as_selfies
from morphogen.data.molecules.standard_form import canonical, kekulized
from morphogen.data.molecules.writing import as_smiles
from morphogen.data.sequences.tokenizers import to_ids, to_texts

BATCH = 64
PARENTS, CHILDREN = 12, 24  # of the search among neighbors: molecules that are edited, and edits before a new choice
SIGMA = 30.0  # nats for a score of 1
LR = 5e-4
REPLAYED = 12  # of the best molecules, one of each scaffold, in each step of tuning
PER_SCAFFOLD = 1.0  # molecules after which a scaffold scores half
POPULATION = 24
NARROW = 0.05  # the standard deviation of latents from which a search begins again
IDLE = 60  # batches without a new molecule: nothing more is found


@runtime_checkable
class Standardized(Protocol):
    """Has latents that are to be brought to mean 0 and deviation 1."""

    def normalized(self, z: Tensor) -> Tensor:
        """Latents of mean 0 and deviation 1."""

    def restored(self, z: Tensor) -> Tensor:
        """The inverse of `normalized`."""


def smiles_of(x: Tensor, data: DataSpec) -> list[str]:
    """The SMILES of records (n, L)."""
    assert data.sequence is not None
    return as_smiles(data.sequence, to_texts(data.sequence, x))


def records_of(smiles: Sequence[str], data: DataSpec) -> tuple[Tensor, list[int]]:
    """The records of those molecules that the model can read, and their places."""
    assert data.sequence is not None
    texts = [kekulized(text) for text in smiles] if data.preprocessing.get("kekule") else list(smiles)
    texts = [as_selfies(text) for text in texts] if data.sequence.tokenizer == "selfies" else texts
    stored, refused = to_ids(data.sequence, texts)
    kept = [i for i in range(len(texts)) if i not in refused]
    return data.encode(stored[kept]), kept


def search_latents(family: Family, oracle: CountedOracle, seed: int, start: str | None) -> Iterator[None]:
    """CMA-ES over the latents of a model that encodes; yields after each population."""
    try:
        import cma
    except ImportError:
        raise UsageError("the search in latents needs cma: `pip install 'morphogen[molecules]'`.") from None
    model: Any = require(family, Encodes, "search in the latents of")
    shape, center = _start(family, start)
    generator, run = np.random.default_rng(seed), 0
    idle = 0
    while True:
        first = center if run == 0 or start is not None else center + 0.5 * generator.standard_normal(len(center))
        options = {
            "popsize": POPULATION,
            "randn": lambda *size: generator.standard_normal(size),
            "seed": float("nan"),
            "verbose": -9,
        }
        strategy = cma.CMAEvolutionStrategy(first, 0.4 if start is not None else 0.8, options)
        run += 1
        while not strategy.stop() and strategy.result.stds.mean() > NARROW:
            asked = strategy.ask()
            z = torch.tensor(np.stack(asked), dtype=torch.float32, device=family.device).unflatten(1, shape)
            z = family.restored(z) if isinstance(family, Standardized) else z
            with torch.no_grad():
                texts = smiles_of(model.decode(z).mean.cpu(), family.data)
            before = oracle.calls
            strategy.tell(asked, [-value for value in oracle(texts)])
            idle = idle + 1 if oracle.calls == before else 0
            yield
            if idle >= IDLE:
                return
            if oracle.calls == before and idle % 5 == 4:
                break  # the same molecules again: begin elsewhere


def tune(
    family: Family,
    oracle: CountedOracle,
    seed: int,
    start: str | None,
    *,
    sigma: float = SIGMA,
    lr: float = LR,
    replayed: int = REPLAYED,
    per_scaffold: float = PER_SCAFFOLD,
) -> Iterator[None]:
    """REINVENT on a copy of a model with exact likelihoods; yields after each step."""
    require(family, Samples, "tune")
    agent: Any = copy_of(family)
    parameters = [p for player in agent.players().values() for p in player.parameters]
    for p in parameters:
        p.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=lr)
    seen: Counter[str] = Counter()
    rng, step, idle = Rng(seed, family.device).child("design"), 0, 0
    while idle < IDLE:
        x = agent.sample(BATCH, None, rng.shifted(step * BATCH))
        texts, before = smiles_of(x.cpu(), family.data), oracle.calls
        found = oracle(texts)
        idle = idle + 1 if oracle.calls == before else 0
        scores = []
        for text, value in zip(texts, found, strict=True):
            name = scaffold(text) if value > 0 else None
            scores.append(value / (1.0 + seen[name] / per_scaffold) if name else value)
            seen.update([name] if name else [])
        best = _of_each_scaffold(oracle.best[: 10 * replayed], replayed)
        again, kept = records_of([text for text, _ in best], family.data)
        every = torch.cat((x, again.to(x.device)))
        wanted = torch.tensor([*scores, *(best[i][1] for i in kept)], device=x.device)
        with torch.no_grad():
            prior = log_p(family, every)
        with rng.forked(step):
            loss = (prior + sigma * wanted - log_p(agent, every)).square().mean() / sigma**2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        step += 1
        yield


def edit_neighbors(family: Family, oracle: CountedOracle, seed: int, start: str | None) -> Iterator[None]:
    """Hill climbing by one-edit neighbors of the best; begins with molecules of the model, or with `start`."""
    generator = np.random.default_rng(seed)
    if start is not None:
        first = [start]
    else:
        model = require(family, Samples, "sample")
        first = smiles_of(model.sample(BATCH, None, Rng(seed, family.device)).cpu(), family.data)
    first = [text for text in first if canonical(text) is not None]
    if not first:
        raise UsageError("none of the first molecules of this model is one: train it longer.")
    oracle(first)
    yield
    idle = 0
    while idle < IDLE:
        pool = [answer.smiles for answer in oracle.best[:PARENTS]] or first
        before = oracle.calls
        oracle([variant(pool[int(generator.integers(len(pool)))], generator) for _ in range(CHILDREN)])
        idle = idle + 1 if oracle.calls == before else 0
        yield


def _of_each_scaffold(answers: Sequence[Answer], n: int) -> list[tuple[str, float]]:
    """The best `n` molecules with their scores, one of each scaffold."""
    found: dict[str, tuple[str, float]] = {}
    for answer in answers:
        if len(found) == n or answer.score <= 0:
            break
        found.setdefault(scaffold(answer.smiles) or answer.smiles, (answer.smiles, answer.score))
    return list(found.values())


METHODS: dict[str, Callable[[Family, CountedOracle, int, str | None], Iterator[None]]] = {
    "latents": search_latents,
    "tuning": tune,
    "neighbors": edit_neighbors,
}


def run(method: str, family: Family, oracle: CountedOracle, seed: int, start: str | None) -> Iterator[int]:
    """Search until no call is left; yields the calls so far."""
    try:
        for _ in METHODS[method](family, oracle, seed, start):
            yield oracle.calls
    except Exhausted:
        yield oracle.calls


def copy_of(family: Family) -> Family:
    """A model like this one that may change, on the same parts."""
    with Rng(0).forked():
        made = type(family)(family.spec, family.data, dict(family.parts))
    made.load_state_dict(family.state_dict())
    return made.to(family.device).eval()


def log_p(family: Family, x: Tensor) -> Tensor:
    """log P(x) (B,) with gradients: the negative loss of a model whose loss is its exact negative log-likelihood."""
    batch = Batch(x, torch.arange(len(x)))
    step = next(iter(family.steps(batch, Rng(0), Progress(0, 1.0))))
    return -torch.stack(list(step.terms.values())).sum(0)


def _start(family: Family, start: str | None) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of latents, and the first mean: the middle of all, or the latent of a molecule."""
    model: Any = family
    example, kept = records_of([start or "CCO"], family.data)
    if not kept:
        raise UsageError(f"the model cannot read {start}: it has tokens that no training molecule has.")
    with torch.no_grad():
        z = model.encode(example.to(family.device)).mean
        z = family.normalized(z) if isinstance(family, Standardized) else z
    flat = z[0].flatten().cpu().double().numpy()
    return tuple(z.shape[1:]), flat if start is not None else np.zeros_like(flat)
