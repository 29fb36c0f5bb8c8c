"""Matrix products in 8 bits: linear layers whose weights and inputs are float8, each with one scale.

Source: FP8 Formats for Deep Learning, arXiv:2209.05433: e4m3 for weights and activations, scaled by their largest
magnitude. Weights are quantised once, inputs at every call. Attention, norms, the first and last layer of the model,
its embeddings, and what a memory holds stay in the model's own data type.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.backbone.wan import CausalWan
from harness.errors import PresetError, why

FP8 = "fp8"
"""Name of the data type in commands and records."""
STORED = torch.float8_e4m3fn
LARGEST = torch.finfo(STORED).max
MULTIPLE = 16
"""What both widths of a scaled product must be a multiple of."""
SMALLEST = 1e-12
"""Least magnitude that a scale is made of, so that zeros have one."""


class Fp8Linear(nn.Module):
    """A linear layer with a float8 weight.

    Parameters
    ----------
    linear
        The layer whose weight is quantised; its bias is shared.
    """

    stored: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.dtype = linear.weight.dtype
        stored, scale = quantised(linear.weight.detach())
        self.register_buffer("stored", stored)
        self.register_buffer("scale", scale)

    @property
    def weight(self) -> Tensor:
        """The weight as it is used, [out, in], in the model's data type."""
        return (self.stored.float() * self.scale).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output: [..., in] -> [..., out]."""
        rows, scale = quantised(x.reshape(-1, self.in_features))
        out = torch._scaled_mm(
            rows, self.stored.t(), scale_a=scale, scale_b=self.scale, out_dtype=self.dtype, use_fast_accum=True
        )
        return (out if self.bias is None else out + self.bias).unflatten(0, x.shape[:-1])


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x in float8, and the float32 scale [1] by which it is multiplied to be x again."""
    scale = x.abs().amax().float().clamp(min=SMALLEST).reshape(1) / LARGEST
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(STORED), scale


def with_fp8(model: CausalWan) -> CausalWan:
    """Return a twin whose blocks multiply in float8; it shares everything else with the model.

    Layers whose widths are no multiples of 16, and the keys and values of the prompt, which are computed once a scene,
    stay as they are.

    Raises
    ------
    PresetError
        The device cannot multiply float8.
    """
    check_fp8(model.device)
    twin = model.with_attention(model.layers[0].self_attn.attention)
    for block in twin.layers:
        own, cross, feed = block.self_attn, block.cross_attn, block.ffn
        for owner, names in ((own, "qkvo"), (cross, "qo")):
            for name in names:
                setattr(owner, name, _fp8(getattr(owner, name)))
        block.ffn = nn.Sequential(_fp8(feed[0]), feed[1], _fp8(feed[2]))
    return twin


def _fp8(linear: nn.Module) -> nn.Module:
    assert isinstance(linear, nn.Linear)
    fits = linear.in_features % MULTIPLE == 0 and linear.out_features % MULTIPLE == 0
    return Fp8Linear(linear) if fits else linear


def try_fp8(device: torch.device) -> None:
    """Multiply in float8. Raises RuntimeError on a device that cannot."""
    x = torch.ones(MULTIPLE, MULTIPLE, device=device, dtype=torch.bfloat16)
    Fp8Linear(nn.Linear(MULTIPLE, MULTIPLE, device=device, dtype=torch.bfloat16))(x).sum().item()


def check_fp8(device: torch.device) -> None:
    """Raise PresetError for a device that cannot multiply float8 numbers."""
    try:
        try_fp8(device)
    except RuntimeError as error:
        raise PresetError(
            f"dtype 'fp8' is not possible on {device}: {why(error)[:160]}; it needs a GPU of compute capability 8.9 or "
            "newer (H100, RTX 4090); allowed everywhere: bfloat16, float32"
        ) from None
