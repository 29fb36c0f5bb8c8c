from __future__ import annotations

import pytest
import torch

from harness.backbone.presets import Backbone, build, parse_dtype, scramble, wan_1_3b
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import DtypeError, PresetError
from harness.memory import DTYPES
from harness.verify.bench import CONFIG


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
        ("float64", torch.float64),
    ],
)
def test_dtypes_by_name(name: str, dtype: torch.dtype) -> None:
    assert parse_dtype(name) == dtype
    assert build(CONFIG, dtype=name).dtype == dtype


@pytest.mark.parametrize("name", ["int8", "bf16", "torch.float32", "Float32", "", "float8_e4m3fn", "complex64"])
def test_other_dtypes_are_refused(name: str) -> None:
    with pytest.raises(DtypeError) as caught:
        parse_dtype(name)
    message = str(caught.value)
    assert repr(name) in message
    assert all(name in message for name in DTYPES)
    with pytest.raises(DtypeError):
        build(CONFIG, dtype=name)


def test_a_model_is_its_seed() -> None:
    """The caller's random numbers neither matter nor are used up."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(CONFIG, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = build(CONFIG, seed=3).state_dict(), build(CONFIG, seed=4).state_dict()
    assert all(torch.equal(x, second[name]) for name, x in first.items())
    assert any(not torch.equal(x, other[name]) for name, x in first.items())


def test_a_built_model_is_for_inference() -> None:
    model = build(CONFIG)
    assert not model.training
    assert not any(x.requires_grad for x in model.parameters())


def test_a_fresh_model_predicts_no_flow() -> None:
    """Training starts from a head of zeros."""
    fresh = build(CONFIG)
    assert not fresh.head.head.weight.any()
    assert not fresh.head.head.bias.any()
    assert all(block.self_attn.q.weight.any() for block in fresh.layers)


def test_scrambling_makes_every_parameter_matter() -> None:
    model = scramble(CausalWan(CONFIG))
    again, other = scramble(CausalWan(CONFIG)).state_dict(), scramble(CausalWan(CONFIG), seed=1).state_dict()
    for name, x in model.state_dict().items():
        assert x.count_nonzero() == x.numel(), name
        assert torch.equal(x, again[name]), name
        assert not torch.equal(x, other[name]), name
    assert all(x.requires_grad for x in model.parameters())


def test_scrambled_weights_are_the_same_in_every_dtype() -> None:
    """Drawn in float64 and rounded, so a bfloat16 model is the float32 one, rounded."""
    wide = scramble(build(CONFIG, dtype="float64")).state_dict()
    for dtype in ("float32", "bfloat16"):
        narrow = scramble(build(CONFIG, dtype=dtype)).state_dict()
        assert all(torch.equal(x, wide[name].to(x.dtype)) for name, x in narrow.items())


def test_scrambled_matrices_keep_the_scale_of_their_input() -> None:
    model = scramble(CausalWan(WanConfig(**{**vars(CONFIG), "dim": 240, "ffn_dim": 320})))
    x = torch.randn(200, 240, generator=torch.Generator().manual_seed(0))
    for block in model.layers:
        assert (x @ block.self_attn.q.weight.T).std().item() == pytest.approx(1, abs=0.05)


def test_the_published_backbone_costs_nothing_on_meta() -> None:
    backbone = wan_1_3b(device="meta")
    assert backbone.name == "wan-1.3b"
    assert backbone.model.config == WanConfig()
    assert {(x.device.type, x.dtype) for x in backbone.model.parameters()} == {("meta", torch.bfloat16)}
    assert (backbone.chunk, backbone.trained_frames, backbone.latent_size) == (3, 21, (60, 104))
    assert backbone.sampler == Sampler(steps=(1000, 750, 500, 250), shift=5.0, context_noise=0.0)
    assert not backbone.independent_first_frame
    assert backbone.attention_kernel == "sdpa:meta"
    assert backbone.model.config.grid(backbone.latent_size) == (30, 52)


def test_a_bare_model_stands_for_the_published_defaults() -> None:
    model = CausalWan(CONFIG)
    bare, published = Backbone(model=model), wan_1_3b(device="meta")
    for name in ("sampler", "chunk", "independent_first_frame", "trained_frames", "latent_size"):
        assert getattr(bare, name) == getattr(published, name)


@pytest.mark.parametrize("chunk", [0, -3])
def test_a_chunk_of_no_frames_is_refused(chunk: int) -> None:
    with pytest.raises(PresetError, match=f"a chunk of {chunk} latent frames"):
        Backbone(model=CausalWan(CONFIG), chunk=chunk)
