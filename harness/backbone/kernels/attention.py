"""Softmax attention over [B, tokens, heads, channels], and the choice of the kernel that computes it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from harness.errors import HorizonError

AttentionName = Literal["auto", "sdpa", "flash-attn"]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def sdpa(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return torch's scaled dot-product attention.

    query: [B, N, heads, channels]. keys, values: [B, M, heads, channels].
    """
    query, keys, values = (x.transpose(1, 2) for x in (query, keys, values))
    return F.scaled_dot_product_attention(query, keys, values).transpose(1, 2)


def flash(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the result of the flash-attn package's kernel, same shapes; half precisions on CUDA only."""
    from flash_attn import flash_attn_func

    return flash_attn_func(query, keys, values)


def choose(name: AttentionName, dtype: torch.dtype, device: torch.device) -> tuple[Attention, str]:
    """Return the attention function and the name to record, such as "sdpa:flash_attention" or "flash-attn".

    "auto" selects flash-attn where it is installed and can run, else SDPA. Raises HorizonError for an unknown name, and
    for flash-attn where it cannot run.
    """
    if name not in get_args(AttentionName):
        raise HorizonError(f"unknown attention {name!r}; allowed: {', '.join(get_args(AttentionName))}")
    missing = (
        "it is not installed (pip install 'horizon-bench[gpu]')"
        if importlib.util.find_spec("flash_attn") is None
        else f"it needs a CUDA device and half precision, not {device.type} and {dtype}"
        if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16)
        else None
    )
    if name == "flash-attn" and missing:
        raise HorizonError(f"attention 'flash-attn' cannot run: {missing}; use 'auto' or 'sdpa'")
    if name != "sdpa" and not missing:
        return flash, "flash-attn"
    return sdpa, f"sdpa:{_sdpa_kernel(dtype, device)}"


def _sdpa_kernel(dtype: torch.dtype, device: torch.device) -> str:
    """Return the name of the kernel that SDPA selects here for heads of 128 channels without a mask."""
    if device.type == "meta":
        return "meta"
    probe = torch.zeros(1, 1, 16, 128, dtype=dtype, device=device)
    return SDPBackend(torch._fused_sdp_choice(probe, probe, probe)).name.lower()
