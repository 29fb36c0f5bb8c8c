"""The precision of products in training."""

from __future__ import annotations

import torch


def half_precision(device: torch.device) -> torch.autocast:
    """Return a context in which products are computed in bfloat16, where the device does that faster than in float32.

    CPUs without AVX-512, or its like on other architectures, only emulate it: a step takes ten times as long there, and
    is computed in float32 instead. The last bits of trained weights depend on the processor in any case.
    """
    emulated = device.type == "cpu" and not multiplies_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=not emulated)


def multiplies_bfloat16() -> bool:
    """Return whether this CPU multiplies in bfloat16."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
