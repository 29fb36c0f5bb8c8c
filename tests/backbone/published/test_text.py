"""The text encoder: what transformers computes, zeros behind it, kept on disk, and gone when it is not needed."""

import gc
import json
import shutil
import weakref
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.backbone.published import text
from harness.backbone.published.text import Umt5, cleaned
from harness.errors import CheckpointError, PromptError
from tests import published
from tests.lanes import pushed

LONG = "a fox runs through the snow and does not stop"


def umt5(weights, cache, **changes):
    options = {"identity": "tiny", "text_len": 24, "text_dim": 32, "dtype": torch.float32, "cache": cache}
    return Umt5(weights / "text_encoder", weights / "tokenizer", **{**options, **changes})


def naive(weights, prompt):
    """One prompt alone, without padding."""
    from transformers import AutoTokenizer, UMT5EncoderModel

    tokens = AutoTokenizer.from_pretrained(weights / "tokenizer")(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        return UMT5EncoderModel.from_pretrained(weights / "text_encoder")(input_ids=tokens).last_hidden_state[0]


def test_embeddings_are_the_encoder_s_with_zeros_behind_them(weights, tmp_path):
    found = umt5(weights, tmp_path)(["a fox", LONG])
    assert found.shape == (2, 24, 32)
    alone = naive(weights, "a fox")
    assert len(alone) == 5  # four letters and the end
    torch.testing.assert_close(found[0, :5], alone, atol=1e-5, rtol=0)
    assert not found[0, 5:].any()
    # Cut at 24 tokens, of which the last is the end.
    assert found[1].abs().sum(-1).gt(0).all()


def test_prompts_are_cleaned_as_published(weights, tmp_path):
    assert cleaned("  a  fox\n&amp;amp; its\tden ") == "a fox & its den"
    assert cleaned("the fox\u2019s den") == "the fox's den"
    encoder = umt5(weights, tmp_path)
    assert torch.equal(encoder(["a   fox"]), encoder(["a fox"]))
    with pytest.raises(PromptError, match="a prompt is empty"):
        encoder([" \n"])


def test_what_was_encoded_once_needs_no_encoder(weights, tmp_path):
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    before = umt5(copy, tmp_path / "cache")(["a fox", "a den"])
    shutil.rmtree(copy / "text_encoder")
    again = umt5(copy, tmp_path / "cache")
    assert torch.equal(again(["a den", "a fox"]), before.flip(0))
    with pytest.raises(CheckpointError, match="text_encoder: not a UMT5 encoder"):
        again(["a wolf"])


def test_a_damaged_embedding_is_computed_again(weights, tmp_path):
    encoder = umt5(weights, tmp_path)
    before = encoder(["a fox"])
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:40])
    assert torch.equal(encoder(["a fox"]), before)


SPOILT = {
    "transposed": lambda said: said.T.contiguous(),
    "more dimensions": lambda said: said[:, :, None].expand(-1, -1, 2).contiguous(),
    "no dimension": lambda said: said[0, 0].clone(),
    "no rows": lambda said: said[:0],
    "rows of zeros": lambda said: said * torch.arange(len(said)).gt(0)[:, None],
    "too many rows": lambda said: said.repeat(9, 1),
    "bytes": lambda said: said.to(torch.int8),
    "another precision": lambda said: said.double(),
    "NaN": lambda said: said.where(torch.arange(len(said))[:, None] != 1, torch.nan),
    "infinity": lambda said: said.where(torch.arange(len(said))[:, None] != 1, torch.inf),
}


@pytest.mark.parametrize("how", pushed(SPOILT, "transposed", "rows of zeros", "bytes", "NaN"))
def test_an_embedding_that_is_none_is_computed_again(weights, tmp_path, how):
    encoder = umt5(weights, tmp_path)
    before = encoder(["a fox"])
    (kept,) = tmp_path.rglob("*.safetensors")
    save_file({"embedding": SPOILT[how](load_file(kept)["embedding"])}, kept)
    assert torch.equal(encoder(["a fox"]), before)
    assert torch.equal(umt5(weights, tmp_path)(["a fox"]), before)


def test_an_embedding_of_another_name_is_computed_again(weights, tmp_path):
    encoder = umt5(weights, tmp_path)
    before = encoder(["a fox"])
    (kept,) = tmp_path.rglob("*.safetensors")
    save_file({"other": torch.ones(2)}, kept)
    assert torch.equal(encoder(["a fox"]), before)


def test_an_encoder_that_makes_nothing_of_a_prompt_is_told(weights, tmp_path, monkeypatch):
    load = Umt5._load

    def broken(self):
        tokenizer, encoder = load(self)
        encoder.encoder.final_layer_norm.weight.data.fill_(torch.nan)
        return tokenizer, encoder

    monkeypatch.setattr(Umt5, "_load", broken)
    with pytest.raises(CheckpointError, match="text_encoder: its embedding of a prompt is zero or not finite"):
        umt5(weights, tmp_path)(["a fox"])
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("change", [{"identity": "other"}, {"dtype": torch.bfloat16}, {"text_len": 12}], ids=str)
def test_other_encoders_share_no_embeddings(weights, tmp_path, change):
    umt5(weights, tmp_path)(["a fox"])
    umt5(weights, tmp_path, **change)(["a fox"])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_the_encoder_is_gone_when_prompts_are_ready(weights, tmp_path, monkeypatch):
    seen = []
    load = Umt5._load

    def watched(self):
        tokenizer, encoder = load(self)
        seen.append(weakref.ref(encoder))
        return tokenizer, encoder

    monkeypatch.setattr(text.Umt5, "_load", watched)
    encoder = umt5(weights, tmp_path)
    encoder.ready(["a fox", "a den", "a fox"])
    gc.collect()
    assert len(seen) == 1
    assert seen[0]() is None
    encoder(["a fox", "a den"])
    assert len(seen) == 1


def test_an_encoder_that_is_none_is_refused_in_one_line(weights, tmp_path):
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    file = copy / "text_encoder/model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="text_encoder: not a UMT5 encoder, or damaged") as told:
        umt5(copy, tmp_path / "cache")(["a fox"])
    assert "\n" not in str(told.value)
    published.vae(copy / "vae2")
    shutil.copy(copy / "vae2/diffusion_pytorch_model.safetensors", file)
    with pytest.raises(CheckpointError, match="text_encoder: not a UMT5 encoder"):
        umt5(copy, tmp_path / "cache")(["a fox"])
    with pytest.raises(CheckpointError, match="embeddings have 32 channels; the model: 64"):
        umt5(weights, tmp_path / "cache", text_dim=64)(["a fox"])


def test_the_encoder_of_a_config_that_ties_no_words_reads_its_one_matrix_of_embeddings(weights, tmp_path):
    """Wan's files: transformers 5.0 to 5.2 leave the encoder's own embeddings empty."""
    assert (
        json.loads((weights / "text_encoder/config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
    )
    held = load_file(weights / "text_encoder/model.safetensors")
    assert [name for name in held if "shared" in name or "embed_tokens" in name] == ["shared.weight"]
    _, loaded = umt5(weights, tmp_path)._load()
    assert torch.equal(loaded.encoder.embed_tokens.weight, held["shared.weight"])
    assert loaded.encoder.embed_tokens.weight.abs().sum() > 0
    # What goes in are the rows of that matrix: two encoders that differ in a letter's row differ in its embedding.
    assert not torch.equal(held["shared.weight"][ord("a")], held["shared.weight"][ord("b")])
    found = umt5(weights, tmp_path)(["a", "b"])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("found", ["4.57.6", "5.0.0", "5.2.0", "5.2.0rc1", "5.2.1.dev0"])
def test_a_library_that_leaves_the_embeddings_empty_is_named_before_anything_is_read(
    weights, tmp_path, monkeypatch, own_cache, found
):
    monkeypatch.setattr(text, "version", lambda _: found)
    told = rf"needs transformers 5\.3 or later, and {found} is installed .*; run: pip install 'transformers>=5\.3'$"
    with pytest.raises(CheckpointError, match=told):
        umt5(weights, tmp_path)
    # Before a byte of the files is looked at: there are none here.
    with pytest.raises(CheckpointError, match=told):
        registry.backbone("self-forcing", weights=tmp_path)


def test_without_the_library_it_says_what_to_install(weights, tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(text, "version", missing)
    with pytest.raises(CheckpointError, match=r"5\.3 or later, which is not installed; run: pip install"):
        umt5(weights, tmp_path)


@pytest.mark.parametrize("found", ["5.3.0", "5.24.0", "6.0.0.dev0"])
def test_later_libraries_are_taken(monkeypatch, found):
    monkeypatch.setattr(text, "version", lambda _: found)
    assert text.transformers_version() == found
