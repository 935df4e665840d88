"""Small GANs and batches for the tests of the family."""

import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.gan import GAN
from morphogen.families.gan_spec import GANSpec

PICTURES = DataSpec(name="pictures", shape=(3, 13, 12), kind="continuous", levels=256, classes=("a", "b", "c"))
POINTS = DataSpec(name="points", shape=(2,), kind="continuous")
BINARY = DataSpec(name="binary", shape=(1, 6, 6), kind="binary", levels=2)
ENHANCED = PICTURES.replace(name="enhanced", context_shape=(3, 7, 6))
WORDED = PICTURES.replace(name="worded", classes=(), text=TextSchema(longest=4, vocabulary=7))
SMALL = {"widths": (6, 8), "hidden": (16,), "discriminator_hidden": (16,), "latent_dim": 5, "inversion_steps": 8}
CONDITIONAL = {"conditional": True, "condition_dropout": 0.3}


def build(data=PICTURES, moved=0.1, **options):
    """A model in training, whose blocks are not the identity that they begin as."""
    with Rng(0).forked():
        model = GAN(GANSpec.parse({**SMALL, **options}), data)
        for p in model.parameters():
            p.data.add_(moved * torch.randn_like(p))
    return model


def batch(data=PICTURES, n=6):
    u = Rng(5).uniform("x", n, data.shape)
    x = (u > 0.5).float() if data.kind == "binary" else 2 * u - 1
    label = torch.arange(n) % 3 if data.classes else None
    context = Rng(6).uniform("context", n, data.context_shape) * 2 - 1 if data.context_shape else None
    text = mask = None
    if data.text is not None:
        text = torch.randint(1, 7, (n, 4), generator=torch.Generator().manual_seed(4))
        mask = torch.arange(4) < torch.tensor([4, 3, 2, 4, 3, 1])[:n, None]
    known = RawCondition(label=label, context=context, text=text, text_mask=mask)
    return Batch(x, torch.arange(n), known, torch.arange(n))


def moves(model, b, step=0):
    return list(model.steps(b, Rng(0), Progress(step, 0.5)))
