"""The precision of products in training."""

from __future__ import annotations

import torch


def half_precision(device: torch.device) -> torch.autocast:
    """Return a context in which products are computed in bfloat16, where the device has kernels for it.

    A CPU without them emulates bfloat16, ten times as slowly as float32, in which it therefore computes. Weights that
    are trained on such a CPU differ from those of another one by the rounding of bfloat16.
    """
    emulated = device.type == "cpu" and not has_bfloat16_kernels()
    return torch.autocast(device.type, torch.bfloat16, enabled=not emulated)


def has_bfloat16_kernels() -> bool:
    """Return whether torch has kernels in bfloat16 for this CPU: on x86, whether it has AVX-512."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
