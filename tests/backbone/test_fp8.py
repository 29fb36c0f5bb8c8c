"""Matrix products in float8: what a layer computes, what stays as it was, and how it is recorded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness import registry
from harness.backbone.kernels.fp8 import LARGEST, Fp8Linear, check_fp8, quantised, with_fp8
from harness.backbone.presets import Backbone, build, scramble
from harness.backbone.request import BackboneRequest
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import DtypeError, PresetError
from harness.provenance.environment import environment, weights_hash
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench

STEP = 2.0**-4
"""Largest relative error of rounding to e4m3, which has three bits behind the first."""


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def layer(seed: int = 0, wide: int = 64, tall: int = 48) -> nn.Linear:
    linear = nn.Linear(wide, tall, dtype=torch.bfloat16).requires_grad_(False)
    linear.weight.copy_(drawn(seed, tall, wide))
    linear.bias.copy_(drawn(seed + 1, tall))
    return linear


def test_rounding_keeps_three_bits_and_the_largest_magnitude() -> None:
    x = drawn(0, 1000).float() * 37
    stored, scale = quantised(x)
    back = stored.float() * scale
    assert stored.float().abs().max() == LARGEST
    assert scale.shape == (1,)
    # Below a five-hundredth of the largest magnitude numbers are no longer normal.
    normal = x.abs() > x.abs().max() / 2**9
    assert ((back - x).abs() <= STEP * x.abs())[normal].all()
    assert normal.float().mean() > 0.9
    zeros, _ = quantised(torch.zeros(3))
    assert not zeros.float().any()


def test_a_layer_is_the_product_of_what_was_rounded() -> None:
    linear, x = layer(), drawn(7, 2, 5, 64)
    ours = Fp8Linear(linear)
    stored, scale = quantised(x)
    expected = (stored.double() * scale) @ (ours.stored.double() * ours.scale).T + linear.bias.double()
    assert ours(x).shape == (2, 5, 48)
    torch.testing.assert_close(ours(x).double(), expected, rtol=2**-7, atol=2**-7 * float(expected.std()))
    # It is near to the exact layer, and not equal to it.
    off = (ours(x) - linear(x)).float().std() / linear(x).float().std()
    assert 0.005 < off < 0.06


def test_the_weight_of_a_layer_can_still_be_read() -> None:
    linear = layer()
    off = (Fp8Linear(linear).weight - linear.weight).abs()
    assert (off <= 2 * STEP * linear.weight.abs() + linear.weight.abs().max() / 2**9).all()


def test_blocks_multiply_in_float8_and_the_model_is_unchanged() -> None:
    model = scramble(CausalWan(WanConfig(dim=96, ffn_dim=160, num_heads=4, num_layers=2, text_dim=32))).bfloat16()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    twin = with_fp8(model.requires_grad_(False))
    found = [name for name, module in twin.named_modules() if isinstance(module, Fp8Linear)]
    each = [*(f"self_attn.{name}" for name in "qkvo"), "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"]
    assert sorted(found) == sorted(f"blocks.{block}.{name}" for block in range(2) for name in each)
    assert not any(isinstance(module, Fp8Linear) for module in model.modules())
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_widths_that_do_not_fit_stay_exact() -> None:
    model = build(WanConfig(dim=40, ffn_dim=64, num_heads=2, num_layers=1, text_dim=16), dtype="bfloat16")
    assert not any(isinstance(module, Fp8Linear) for module in with_fp8(model).modules())


def test_a_rollout_is_near_to_that_in_bfloat16() -> None:
    config = WanConfig(dim=96, ffn_dim=160, num_heads=4, num_layers=2, text_dim=CONFIG.text_dim, text_len=4)
    model = scramble(CausalWan(config)).bfloat16().requires_grad_(False)
    rolls = []
    for each in (model, with_fp8(model)):
        bench = Workbench(registry.strategy("sliding_window"), Backbone(model=each, latent_size=LATENT_SIZE))
        rolls.append(torch.cat([x.float() for x in bench.latents(3)], 1))
    assert rolls[1].isfinite().all()
    assert 0 < (rolls[1] - rolls[0]).std() / rolls[0].std() < 0.5


def test_it_is_another_model_in_records() -> None:
    asked = (BackboneRequest(name="pocket", dtype=dtype) for dtype in ("bfloat16", "fp8"))
    exact, rounded = map(registry.open_backbone, asked)
    assert (exact.dtype, rounded.dtype) == ("bfloat16", "fp8")
    assert rounded.request().dtype == "fp8"
    assert environment(rounded)["dtype"] == "fp8"
    assert weights_hash(exact) != weights_hash(rounded)
    again = registry.open_backbone(rounded.request())
    assert weights_hash(again) == weights_hash(rounded)
    # A cache holds what it always held.
    assert rounded.memory_spec().dtype == torch.bfloat16


def test_a_device_without_such_products_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9")

    monkeypatch.setattr(torch, "_scaled_mm", refused)
    with pytest.raises(PresetError, match=r"'fp8' is not possible on cpu: .*; it needs a GPU of .* 8\.9 or newer"):
        check_fp8(torch.device("cpu"))
    with pytest.raises(DtypeError, match=r"unknown dtype 'fp4'; allowed: float32, .*, fp8"):
        registry.backbone("pocket", dtype="fp4")
