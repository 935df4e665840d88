"""Small diffusion models, and one with a perfect network, for the tests of the family."""

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import broadcast

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b", "c"))
BYTES = DataSpec(name="bytes", shape=(3, 6, 5), kind="continuous", levels=256, classes=("a", "b"))
BINARY = DataSpec(name="binary", shape=(1, 2, 2), kind="binary")
DISCRETE = DataSpec(name="discrete", shape=(1, 3, 2), kind="discrete", levels=5)
TINY = {"backbone": "mlp", "hidden": (24, 24), "steps": 6, "score_evaluations": 12}
MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)


def build(data=POINTS, parts=None, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        model = Diffusion(DiffusionSpec.parse({**TINY, **options}), data, parts)
        for network in model.networks().values():
            for p in network.parameters():
                p.data.add_(0.2 * torch.randn_like(p))
    return model.eval()


def batch(data=POINTS, n=8):
    if data.levels or data.kind == "binary":
        x = data.encode(Rng(5).integers("u", n, data.levels or 2, data.shape))
    else:
        x = Rng(5).normal("u", n, data.shape)
    label = torch.arange(n) % len(data.classes) if data.classes else None
    return Batch(x, torch.arange(n), None if label is None else RawCondition(label=label), torch.arange(7, 7 + n))


def terms(model, b, seed=0):
    (step,) = model.steps(b, Rng(seed), Progress(0, 0.5))
    return step.terms


class Exact(nn.Module):
    """What a perfect network puts out, for data whose denoiser is known: it works back from what it is shown."""

    def __init__(self, oracle, readout, time_of):
        super().__init__()
        self.oracle, self.readout, self.time_of = oracle, readout, time_of
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, seen: Tensor, u: Tensor, condition=None) -> Tensor:
        t = self.time_of(u)
        alpha, sigma = (broadcast(c, seen) for c in self.oracle.schedule(t))
        x_t = seen * torch.hypot(alpha, sigma)
        p = self.oracle.posterior(x_t, t)
        a, b = {"x0": (1.0, 0.0), "eps": (0.0, 1.0), "v": (-sigma, alpha)}[self.readout.parametrization]
        eps = (x_t - alpha * p.mean) / sigma
        f = (a * p.mean + b * eps) / torch.hypot(torch.as_tensor(a), torch.as_tensor(b))
        if self.readout.outputs == 1:
            return f
        return torch.cat((f, p.log_var - 2.0 * (sigma / torch.hypot(alpha, sigma)).log()), 1)


def exact(oracle_of=GaussianMixtureDenoiser.gaussian, mean=MEAN, cov=COV, data=POINTS, **options):
    """The family around a perfect network, and the oracle."""
    model = build(data, **options).double()
    oracle = oracle_of(model.schedule, mean, cov)
    model.time_input = lambda t: t  # `time_input` has its test, and inverting it takes long
    model.denoiser = Exact(oracle, model.readout, lambda u: u)
    return model, oracle
