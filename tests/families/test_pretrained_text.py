"""Models that read captions by a pretrained text encoder: from a directory to a model, and what is refused."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Pieces
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

import morphogen as mg
from morphogen import artifact
from morphogen.api.parts import part
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, DataError, SpecError, UsageError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.data.tokenizer import Tokenizer, data_part, reading
from morphogen.families.vae import VAE
from morphogen.nn.conditioning import pretrained_text
from morphogen.nn.conditioning.conditioner import Conditioner

pytestmark = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is missing")

CAPTIONS = ["a small red circle", "a large blue square above a green cross", "two yellow triangles"] * 4
SHAPES = "shapes:size=16,n=200"
SMALL = {"conditional": True, "hidden": (16,), "latent_dim": 4, "backbone": "mlp"}
QUICK = {"steps": 4, "batch_size": 32, "compile": "off", "precision": "fp32", "device": "cpu"}


def word_pieces(unknown="[UNK]", first=("[PAD]", "[UNK]", "[CLS]", "[SEP]"), marks=("[CLS]", "[SEP]")):
    """A tokenizer as BERT has one, or with other marks."""
    pieces = Pieces(models.WordPiece(unk_token=unknown))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.train_from_iterator(CAPTIONS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=list(first)))
    begin, end = marks
    pieces.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(m, pieces.token_to_id(m)) for m in marks]
    )
    return pieces


def written(root: Path, kind="bert") -> Path:
    """A directory as `save_pretrained` writes it: a random encoder that is small, and its tokenizer."""
    import transformers as t

    if kind == "bert":
        pieces, padding = word_pieces(), "[PAD]"
    else:  # begin is token 0, as in RoBERTa, or end, as in CLIP
        pieces, padding = word_pieces("<unk>", ("<s>", "</s>", "<unk>", "<pad>"), ("<s>", "</s>")), "<pad>"
    n = pieces.get_vocab_size()
    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    if kind == "bert":
        model = t.BertModel(t.BertConfig(vocab_size=n, max_position_embeddings=24, **small))
    elif kind == "clip":
        text = {**small, "vocab_size": n, "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1}
        vision = {**small, "image_size": 8, "patch_size": 4}
        model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    elif kind == "t5":
        model = t.T5Model(t.T5Config(vocab_size=n, d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2))
    else:
        model = t.RobertaModel(t.RobertaConfig(vocab_size=n, max_position_embeddings=26, pad_token_id=3, **small))
    model.save_pretrained(root)
    tokenizer = t.PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token=padding, model_max_length=24)
    tokenizer.save_pretrained(root)
    return root


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return written(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def model(bert, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "vae"
    for _ in mg.training("vae", SHAPES, out, options=SMALL, recipe=QUICK, parts={"text": bert}):
        pass
    return out


@pytest.mark.parametrize("kind", ["bert", "roberta", "clip", "t5"])
def test_vectors_are_the_encoders_own_and_padding_never_counts(kind, tmp_path):
    """The same vectors as the library's own model and tokenizer give, alone or padded beside longer texts."""
    import transformers as t

    root = written(tmp_path / kind, kind)
    reader = part("text", root)
    tokenizer = Tokenizer.of(reader.data.text)
    whole = t.AutoModel.from_pretrained(root).eval()
    theirs = {"clip": lambda: whole.text_model, "t5": whole.get_encoder}.get(kind, lambda: whole)()
    own = t.AutoTokenizer.from_pretrained(root)
    texts = ["two red squares", "a circle", "a large blue square above a green cross"]
    ids = tokenizer.ids(texts, 16)
    vectors = reader(ids, ids != 0)
    assert vectors.shape == (3, 16, reader.dim) and not vectors.requires_grad
    for row, text in enumerate(texts):
        alone = own(text, return_tensors="pt")
        n = alone["input_ids"].shape[1]
        assert (ids[row] != 0).sum() == n, "no word is taken for padding, and no padding for a word"
        expected = theirs(input_ids=alone["input_ids"], attention_mask=alone["attention_mask"])["last_hidden_state"]
        torch.testing.assert_close(vectors[row, :n], expected[0].detach(), rtol=1e-4, atol=1e-5)
    noisy = torch.where(ids != 0, ids, 9)
    torch.testing.assert_close(reader(noisy, ids != 0)[ids != 0], vectors[ids != 0], rtol=0, atol=0)


def test_captions_are_read_by_its_tokenizer(bert):
    text = part("text", bert).data.text
    tokenizer = Tokenizer.of(text)
    assert tokenizer.text(tokenizer.ids(["A small RED circle"], 24)[0]) == "a small red circle"
    cut = tokenizer.ids(["two yellow triangles above a green cross"], 5)[0]
    assert cut[0] == tokenizer.ids(["a"], 3)[0, 0] and cut[-1] == tokenizer.ids(["a"], 3)[0, 2], "begin and end stay"
    assert not tokenizer.ids([""], 5).any(), "a text of no words says nothing"
    schema = data_part(text, CAPTIONS, 64)
    assert schema.longest == max(tokenizer.lengths(CAPTIONS)) and schema.vocabulary == tokenizer.vocabulary
    read = tokenizer.read(["a zebra", " ".join(CAPTIONS)], 6)
    (warning,) = read.warnings  # of pieces it knows all words, whatever the captions have
    assert "at most 6 tokens" in warning
    with pytest.raises(DataError, match="tokenizer"):
        reading("{}", 8)


def test_only_what_is_made_of_its_vectors_learns_and_is_stored_here(bert, model):
    loaded = artifact.load(model).family
    reader = dict(loaded.parts)["text"]
    players = {id(p) for player in loaded.players().values() for p in player.parameters}
    assert not players & {id(p) for p in reader.parameters()}
    assert players == {id(p) for p in loaded.own_parameters()}
    given = part("text", bert)
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), reader.parameters(), strict=True))
    assert not any("encoder.model" in name for name in load_file(model / "weights.safetensors"))
    assert (model / "parts" / "text" / "weights.safetensors").is_file()


def test_all_words_are_told_apart_and_weights_of_one_change_nothing(bert):
    reader = part("text", bert)
    data = DataSpec(name="d", shape=(2,), kind="continuous", text=data_part(reader.data.text, CAPTIONS, 64))
    torch.manual_seed(0)
    net = Conditioner(data, 32, parts={"text": reader}).double().eval()
    assert not any("reader" in name or "model" in name for name, _ in net.named_parameters())
    ids = Tokenizer.of(data.text).ids(CAPTIONS[:3], data.text.longest)
    read = net(RawCondition(text=ids, text_mask=ids != 0), 3)
    again = net(RawCondition(text=ids, text_mask=(ids != 0).double()), 3)
    torch.testing.assert_close(read.pooled, again.pooled, rtol=0, atol=1e-6)
    assert torch.pdist(read.pooled.detach()).min() > 0.1
    nothing = net(None, 3)
    torch.testing.assert_close(nothing.pooled, nothing.pooled[:1].expand(3, -1), rtol=0, atol=0)
    assert nothing.mask.sum() == 3 and not nothing.tokens[:, 1:].any()


def test_a_model_draws_the_same_once_it_is_stored_and_shows_its_part(model, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    first, second = (mg.draw(m, "a small red circle", n=2, seed=3).x for m in (model, moved))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, mg.draw(model, "two yellow triangles", n=2, seed=3).x)
    assert mg.describe(moved)["provenance"]["parts"]["text"]["sha256"]
    assert mg.verify(moved)


def test_it_takes_part_in_training_and_resumes_bit_for_bit(bert, tmp_path):
    for name, stops in (("whole", [None]), ("parts", [2, None])):
        for stop in stops:
            events = mg.training(
                "vae",
                SHAPES,
                tmp_path / name,
                options=SMALL,
                recipe=QUICK,
                parts={"text": bert},
                resume=stop != stops[0],
            )
            for event in events:
                if stop is not None and event.step >= stop:
                    events.close()
                    break
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_every_family_with_words_takes_it(bert):
    reader = part("text", bert)
    text = data_part(reader.data.text, CAPTIONS, 64)
    data = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", levels=17, text=text)
    ids = Tokenizer.of(text).ids(CAPTIONS[:4], text.longest)
    batch = Batch(torch.zeros(4, 1, 8, 8), torch.arange(4), RawCondition(text=ids, text_mask=ids != 0))
    for name in ("vae", "vq_vae", "hierarchical_vae", "autoregressive", "gan", "diffusion", "flow_matching"):
        family = mg.core.registry.family(name)
        with Rng(0).forked():
            made = family(family.Spec.parse({"conditional": True}), data, {"text": reader})
        taken = [sum(step.terms.values()).mean() for step in made.steps(batch, Rng(0), Progress(0, 0.0))]
        assert all(torch.isfinite(loss) for loss in taken), name
        taken[-1].backward()
        assert all(p.grad is None for p in reader.parameters()), name


def test_what_stands_on_such_a_model_reads_as_it_does(bert, tmp_path):
    small = {"widths": (8, 16), "blocks": (1,), "conditional": True, "steps": 2}
    for _ in mg.training("diffusion", SHAPES, tmp_path / "m", options=small, recipe=QUICK, parts={"text": bert}):
        pass
    for _ in mg.training("distilled", SHAPES, tmp_path / "q", recipe=QUICK, parts={"teacher": tmp_path / "m"}):
        pass
    for _ in mg.training("lora", SHAPES, tmp_path / "l", recipe=QUICK, parts={"base": tmp_path / "m"}):
        pass
    for name in "ql":
        read = artifact.load(tmp_path / name).family.data.text.fingerprint
        assert read == part("text", bert).data.text.fingerprint
        assert mg.draw(tmp_path / name, "a small (red:1.5) circle", n=2, seed=3).x.shape[0] == 2
    assert not any("parts." in name for name in load_file(tmp_path / "l" / "weights.safetensors"))


def test_what_is_no_text_encoder_is_refused(bert, tmp_path):
    import transformers as t

    data = DataSpec(name="d", shape=(2,), kind="continuous", classes=("a", "b"))
    with pytest.raises(SpecError, match="has none: leave it out"):
        VAE(VAE.Spec.parse(SMALL), data, {"text": part("text", bert)})
    with pytest.raises(UsageError, match=r"config\.json"):
        part("text", tmp_path)
    picture = t.ViTModel(t.ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=8))
    picture.save_pretrained(tmp_path / "vit")
    for file in bert.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "vit")
    with pytest.raises(UsageError, match="reads no text"):
        part("text", tmp_path / "vit")
    with pytest.raises(SpecError, match="conditional"):
        mg.training("vae", SHAPES, tmp_path / "m", options={**SMALL, "conditional": False}, parts={"text": bert})
    shutil.copytree(bert, tmp_path / "holed")
    weights = load_file(bert / "model.safetensors")
    gone = next(name for name in weights if "query.weight" in name)
    save_file({k: v for k, v in weights.items() if k != gone}, tmp_path / "holed" / "model.safetensors")
    with pytest.raises(ArtifactError, match="lack"):
        part("text", tmp_path / "holed")
    shutil.copytree(bert, tmp_path / "mute")
    for file in (tmp_path / "mute").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UsageError, match="and a tokenizer"):
        part("text", tmp_path / "mute")
    with pytest.raises(UsageError, match="unknown family"):
        mg.describe_family("pretrained_text")


@pytest.mark.parametrize("wrong", [{"num_attention_heads": -2}, {"pad_token_id": -1}])
def test_sizes_that_fail_only_in_the_library_are_errors_of_ours(wrong):
    """Weights have the same shapes with them, so that nothing but reading a text can tell."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = pretrained_text.built({"model_type": "bert", "vocab_size": 30, **small, **wrong})
    ids = torch.ones(2, 5, dtype=torch.int64)
    with pytest.raises(ArtifactError, match="the text encoder cannot read by its configuration"):
        encoder(ids, torch.tensor([[True] * 5, [True] * 3 + [False] * 2]))


def test_the_directory_of_a_sentence_embedding_model(bert, tmp_path):
    """Its list of modules says where the encoder lies."""
    shutil.copytree(bert, tmp_path / "sentences" / "0_Transformer")
    listed = [{"idx": 0, "path": "0_Transformer"}, {"idx": 1, "path": "1_Pooling"}]
    (tmp_path / "sentences" / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    found = pretrained_text.read(tmp_path / "sentences")
    assert found.name == "sentences" and found.longest == 24 and found.encoder.dim == 24
