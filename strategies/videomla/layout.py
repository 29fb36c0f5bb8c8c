"""Cache layout of VideoMLA: a token is a content latent and a positional key that all heads share."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.backbone.rope import rotate
from harness.memory import Entries, Layout


class LatentLayout(Layout):
    """Content latent after its norm, and un-rotated positional key: `latent + rope` scalars a token a layer.

    Keys and values of all heads are linear in both, so policies may average and scale entries as they do dense ones.
    """

    axes = ("token", "channel")

    def __init__(self, latent: int, rope: int) -> None:
        self.shapes = ((latent,), (rope,))

    def ready(self, tokens: tuple[Tensor, ...], rotation: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
        content, positional = tokens
        positional = rotate(positional.unsqueeze(2), rotation).squeeze(2)
        if weights is None:
            return content, positional
        scale = weights[..., None].to(content.dtype)
        return content * scale, positional * scale

    def keys(self, entries: Entries) -> Tensor:
        """Return both parts as one key of one head, which identifies an entry independently of the heads of a layer."""
        return torch.cat(entries.tensors, -1).unsqueeze(-2)
