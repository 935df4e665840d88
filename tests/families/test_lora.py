"""Low-rank adapters: the formula, where they start, what is stored, and what is refused."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import morphogen as mg
from morphogen import SpecError, UsageError, artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.data.load import load
from morphogen.families.diffusion import Diffusion
from morphogen.families.flow_matching import FlowMatching
from morphogen.families.gan import GAN
from morphogen.families.lora import LoRA, LoRASpec
from morphogen.nn import adapters
from morphogen.nn.layers.attention import SelfAttention
from morphogen.testing import check_family
from tests.toys import LONG_CHECKS

PICTURES = DataSpec(name="pictures", shape=(1, 8, 8), kind="continuous", levels=17, classes=("a", "b"))
SMALL = {"widths": (16, 32), "blocks": (1,), "attention": 1, "conditional": True}
OWN = "weights.safetensors"
COLOR = (200, 40, 230)


def base(family=Diffusion, data=PICTURES, **options):
    with Rng(0).forked():
        model = family(family.Spec.parse({**SMALL, **options}), data)
        for p in model.parameters():
            p.data.add_(0.05 * torch.randn_like(p))  # also those that start at zero
    return model.double().eval()


def lora(model=None, moved=False, **options):
    model = base() if model is None else model
    with Rng(1).forked():
        made = LoRA(LoRASpec.parse(options), model.data, {"base": model}).double()
        if moved:
            for p in made.players()["denoiser"].parameters:
                p.data.add_(0.1 * torch.randn_like(p))
    return made.eval()


def asked(model):
    x_t = Rng(3).normal("x", 3, (1, 8, 8), next(model.parameters()).dtype)
    t = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    return model.posterior(x_t, t, RawCondition(label=torch.tensor([0, 1, -1]))).mean


@pytest.mark.parametrize("family", [Diffusion, FlowMatching])
def test_training_starts_at_the_base_and_moves_the_adapters_alone(family):
    model = base(family)
    made = lora(model)
    torch.testing.assert_close(asked(made), asked(model), rtol=0, atol=1e-12)
    mine = made.players()["denoiser"].parameters
    assert {id(p) for p in mine} == {id(p) for p in made.parameters() if p.requires_grad}
    x = Rng(5).uniform("u", 4, (1, 8, 8), torch.float64) - 0.5
    batch = Batch(x, torch.arange(4), RawCondition(label=torch.arange(4) % 2))
    (step,) = made.steps(batch, Rng(0), Progress(0, 0.0))
    sum(step.terms.values()).mean().backward()
    assert all(p.grad is not None for p in mine) and any(p.grad.any() for p in mine)
    assert all(p.grad is None for p in model.parameters())


def test_a_merged_layer_has_the_weight_of_the_formula():
    made = lora(moved=True, rank=3, alpha=6)
    state, before = made.adapted.state_dict(), base().state_dict()
    merged = made.deployed().state_dict()
    name = next(n for n in before if n.endswith("qkv.weight"))
    a, b = (state[f"{name[:-7]}.lora_{which}.default.weight"] for which in "AB")
    assert a.shape[0] == b.shape[1] == 3
    torch.testing.assert_close(merged[name], before[name] + 2.0 * b @ a, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(asked(made.deployed()), asked(made), rtol=1e-12, atol=1e-12)


def test_every_linear_layer_and_convolution_is_adapted_or_those_of_attention():
    every, few = (lora(layers=layers) for layers in ("all", "attention"))
    model = base()
    wanted = [n for n, m in model.named_modules() if type(m) in (torch.nn.Linear, torch.nn.Conv2d)]
    assert sorted(adapters.changes(every.adapted)) == sorted(wanted)
    chosen = adapters.changes(few.adapted)
    assert 0 < len(chosen) < len(wanted)
    parents = {type(model.get_submodule(n.rpartition(".")[0])) for n in chosen}
    assert parents == {SelfAttention}


def test_the_artifact_keeps_adapters_and_base_apart_and_loads_as_a_model_of_the_base(tmp_path):
    made = lora(moved=True).float()
    artifact.save(tmp_path / "m", made, recipe={}, provenance={})
    stored = artifact.load(tmp_path / "m")
    assert stored.spec["family"] == "lora" and stored.family.name == "diffusion"
    kept, beside = (load_file(tmp_path / "m" / path) for path in (OWN, f"parts/base/{OWN}"))
    assert kept and all("lora_" in name for name in kept)
    assert beside and not any("lora_" in name for name in beside)
    torch.testing.assert_close(asked(stored.family), asked(made), rtol=1e-4, atol=1e-4)


def test_an_adapted_model_can_be_adapted_again(tmp_path):
    artifact.save(tmp_path / "first", lora(moved=True).float(), recipe={}, provenance={})
    first = artifact.load(tmp_path / "first").family
    with Rng(0).forked():
        second = LoRA(LoRASpec(), first.data, {"base": first})
    torch.testing.assert_close(asked(second), asked(first))
    artifact.save(tmp_path / "second", second, recipe={}, provenance={})
    torch.testing.assert_close(asked(artifact.load(tmp_path / "second").family), asked(first))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "got none"),
        ({"base": "gan"}, "got a 'gan' model"),
        ({"base": "other"}, "take one of the same data"),
        ({"base": "same", "teacher": "same"}, "teacher"),
    ],
)
def test_what_cannot_be_adapted(parts, said):
    other = PICTURES.replace(classes=("a", "b", "c"))
    models = {
        "gan": lambda: GAN(GAN.Spec.parse({"conditional": True}), PICTURES),
        "other": lambda: base(data=other),
        "same": base,
    }
    with Rng(0).forked(), pytest.raises(SpecError, match=said):
        LoRA(LoRASpec(), PICTURES, {name: models[which]() for name, which in parts.items()})


def test_a_network_without_attention_says_so():
    points = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b"))
    with Rng(0).forked():
        model = Diffusion(Diffusion.Spec.parse({"backbone": "mlp", "hidden": (8,)}), points)
        with pytest.raises(UsageError, match="take layers 'all'"):
            LoRA(LoRASpec(layers="attention"), points, {"base": model})


def test_a_handful_of_captioned_pictures(tmp_path):
    """The base's words are kept, pictures unlike its own are learned, and prompts work as before."""
    small = {**SMALL, "guidance": 1.0, "steps": 4}
    recipe = {"steps": 3, "batch_size": 8, "compile": "off", "precision": "fp32"}
    list(mg.training("diffusion", "shapes:size=16,n=64", tmp_path / "base", options=small, recipe=recipe))
    folder = tmp_path / "mine"
    folder.mkdir()
    lines = []
    for i in range(6):
        Image.new("RGB", (40, 40), COLOR).save(folder / f"{i}.png")
        lines.append(f'{{"file_name": "{i}.png", "text": "a large red circle in my style"}}')
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    recipe = {**recipe, "steps": 60, "batch_size": 4}
    source = f"{folder}:resize=stretch,validation=0,test=0"
    parts, faster = {"base": tmp_path / "base"}, {"lr": 1e-2, "ema": 0.9}
    list(mg.training("lora", source, tmp_path / "lora", options=faster, recipe=recipe, parts=parts))
    made, before = mg.load(tmp_path / "lora"), mg.load(tmp_path / "base")
    assert made.module.data.shape == (3, 16, 16)
    assert made.module.data.text.fingerprint == before.module.data.text.fingerprint
    own = load(source, like=before.module.data).train.batch(slice(None))
    assert _error(made.module, own) < 0.3 * _error(before.module, own)
    drawn = mg.draw(tmp_path / "lora", ["a large red circle"])
    assert drawn.x.shape[1:] == (3, 16, 16)
    shown = mg.describe(tmp_path / "lora")
    assert shown["family"] == "lora" and shown["options"]["lr"] == 1e-2
    assert shown["used_as"]["family"] == "diffusion" and shown["used_as"]["options"]["widths"] == [16, 32]
    # adapters are nothing without their base
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(mg.MorphogenError):
        list(mg.training("lora", source, tmp_path / "lora2", recipe=recipe, parts=parts))


@torch.no_grad()
def _error(model, batch):
    """Mean square of E[x_0 | x_t] - x_0 where x_t shows little of x_0."""
    t = torch.full((len(batch.x),), 0.8, dtype=torch.float64)
    x_0 = model.encoded(batch.x, Rng(0), batch.address)
    x_t = model.readout.noised(x_0, Rng(0).normal("eps", batch.address, model.shape), t)
    return (model.posterior(x_t, t, batch.cond).mean - x_0).square().mean()


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    """Without the checks that train for long, unless slow tests run."""
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 20}
    points = ("diffusion", {"backbone": "mlp", "hidden": [64, 64], "conditional": True})
    checked = check_family("lora", {}, {"base": points}, **size)
    assert not checked.failures, str(checked)
