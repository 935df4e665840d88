"""Texts as latents: an exact decoder, autoencoders and VAEs, and GAN, diffusion and flows in their latent space."""

from __future__ import annotations

import pytest
import torch

from morphogen.core.capabilities import Encodes, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.core.sequences import END, PADDING, SPECIAL, well_formed
from morphogen.data.sequences.tokenizers import describe
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec
from morphogen.families.gan import GAN, GANSpec
from morphogen.families.vae import VAE, VAESpec
from morphogen.nn.sequences import CausalSequences
from morphogen.testing import parametrize_with_checks
from tests.nn.test_sequences import every

TINY = {"text_width": 32, "text_blocks": 1}
SCHEMA = describe("characters", ["ab"], None).replace(longest=4)
DATA = DataSpec(name="letters", shape=(4,), kind="sequence", levels=SCHEMA.vocabulary, sequence=SCHEMA)
STAGE = {"autoencoder": ("autoencoder", {**TINY, "text_latents": 8, "ema": None, "lr": 1e-2})}


def moved(model):
    with Rng(0).forked():
        for p in model.parameters():
            p.data.add_(0.3 * torch.randn_like(p))
    return model.double().eval().requires_grad_(False)


def autoencoder() -> Autoencoder:
    with Rng(0).forked():
        return moved(Autoencoder(AutoencoderSpec.parse({**TINY, "text_latents": 5}), DATA))


def vae(**options: object) -> VAE:
    with Rng(0).forked():
        return moved(VAE(VAESpec.parse({**TINY, "latent_dim": 2, **options}), DATA))


def test_the_decoder_is_a_distribution_of_texts_for_every_latent():
    model, x = autoencoder(), every(SCHEMA)
    z = Rng(0).normal("z", 3, (5, 1, 1), torch.float64)
    p = model.decode(z[:, None].expand(3, len(x), 5, 1, 1))
    assert torch.allclose(p.log_prob(x).exp().sum(1), torch.ones(3).double(), atol=1e-10)
    assert torch.allclose(p.log_prob_elements(x).sum(-1), p.log_prob(x), atol=1e-10)
    drawn = model.decode(z).sample(torch.rand(3, 4))
    assert well_formed(drawn).all()
    likeliest = model.decode(z).mean
    assert torch.equal(likeliest, model.decode(z).mean) and well_formed(likeliest).all()


@pytest.mark.parametrize("prior", ["standard", pytest.param("flow", marks=pytest.mark.slow)])
def test_the_bound_of_a_vae_lies_below_its_log_likelihood_and_tightens(prior):
    model, x = vae(prior=prior), every(SCHEMA)
    z = model._latents(Rng(7).normal("z", 4_000, (2,), torch.float64), Rng(7))
    logs = model.decode(z[:, None].expand(-1, len(x), 2)).log_prob(x)
    mass = logs.exp().mean(0)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-9)
    one, many = (torch.stack([model.score(x, None, Rng(s), k).value for s in range(8)]).mean(0) for k in (1, 200))
    assert (many <= mass.log() + 0.1).all()
    assert float((mass.log() - many).mean()) < float((mass.log() - one).mean())


def test_a_vae_draws_texts_of_its_decoder_and_rebuilds_by_conditions_of_its_own():
    model = vae()
    drawn = model.sample(200, None, Rng(0))
    assert well_formed(drawn).all() and drawn.dtype == torch.int64
    assert isinstance(model.encode(every(SCHEMA)), Gaussian)
    with pytest.raises(SpecError, match="one likelihood"):
        vae(prior="vamp")


def test_unseen_tokens_are_no_help_to_those_after_them():
    decoder = moved(CausalSequences(SCHEMA, width=32, blocks=1, cond=5))
    c = Rng(0).normal("c", 2, (5,), torch.float64)[:1].expand(2, -1)
    x = torch.tensor([[SPECIAL, SPECIAL, END, PADDING], [SPECIAL + 1, SPECIAL, END, PADDING]])
    unseen = torch.tensor([[True, False, False, False]]).expand(2, -1)
    seen, blind = decoder.elements(x, c), decoder.elements(x, c, unseen)
    assert not torch.allclose(seen[0, 1:3], seen[1, 1:3]) and torch.allclose(blind[0, 1:3], blind[1, 1:3])
    assert torch.allclose(blind[:, 0], seen[:, 0]), "what is not seen is drawn all the same"


def test_latents_of_texts_have_little_noise_at_first():
    with Rng(0).forked():
        model = Autoencoder(AutoencoderSpec.parse({**TINY, "text_latents": 5}), DATA)
    q = model.encode(every(SCHEMA))
    assert float(q.log_var.mean()) < -3.0
    (player,) = model.players().values()
    assert not player.matrices
    with Rng(0).forked():
        (player,) = Autoencoder(AutoencoderSpec.parse({**TINY, "optimizer": "muon"}), DATA).players().values()
    assert len(player.matrices) == 2 * 4 + 1  # and what brings the latents into the decoder


def test_a_gan_of_texts_needs_their_latents():
    with pytest.raises(SpecError, match="autoencoder=MODEL"):
        GAN(GANSpec(), DATA)
    with pytest.raises(SpecError, match="must be a model of the family autoencoder"):
        GAN(GANSpec(), DATA, {"autoencoder": vae()})
    stage = autoencoder()
    model = GAN(GANSpec.parse({"hidden": (16,), "discriminator_hidden": (16,)}), DATA, {"autoencoder": stage})
    assert model.drawn_shape == (5, 1, 1) and Encodes not in model.capabilities and Scores not in model.capabilities
    assert well_formed(model.eval().sample(20, None, Rng(0))).all()


@parametrize_with_checks(["autoencoder"], {**TINY, "text_latents": 8}, texts=True, steps=400, records=1024)
def test_the_contract_of_the_autoencoder(check):
    check()


@pytest.mark.slow
@parametrize_with_checks(["vae"], {**TINY, "latent_dim": 8, "beta": 0.3}, texts=True, steps=500, records=1024)
def test_the_contract_of_the_vae(check):
    check()


LEARNS = "samples beat the best single Gaussian"  # takes the minutes that a part and a model of its latents need


@parametrize_with_checks(
    ["gan"],
    {"hidden": (64, 64), "discriminator_hidden": (64, 64)},
    STAGE,
    skip=[LEARNS],
    texts=True,
    steps=300,
    records=1024,
)
def test_the_contract_of_a_gan_of_latents(check):
    check()


@parametrize_with_checks(
    ["flow_matching"], {"hidden": (64, 64)}, STAGE, skip=[LEARNS], texts=True, steps=300, records=1024
)
def test_the_contract_of_a_flow_of_latents(check):
    check()
