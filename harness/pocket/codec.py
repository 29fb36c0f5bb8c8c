"""The pocket's codec: pictures of 32 x 32 pixels to latents of 16 channels at 8 x 8 places, and back.

Every 4 x 4 patch of a picture is projected on the 16 strongest principal components of the world's patches: linear,
without training, one latent frame a picture (a video VAE compresses time as well; here a latent frame *is* a frame).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

PATCH = 4
CHANNELS = 16
SPREAD = 2.0
"""Standard deviation of the latents, all channels together. A picture of 16 tokens is far less redundant than one of
1560, so at unit spread the published noise levels would hide it: twice the spread is half the shift."""


class PatchCodec(nn.Module):
    """Principal components of patches, with the strong ones damped; `decode` inverts `encode` except for the omitted
    components."""

    mean: Tensor
    into: Tensor
    out: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3 * PATCH**2))
        self.register_buffer("into", torch.zeros(3 * PATCH**2, CHANNELS))
        self.register_buffer("out", torch.zeros(CHANNELS, 3 * PATCH**2))

    @torch.no_grad()
    def fit(self, pixels: Tensor) -> PatchCodec:
        """Compute the components from pictures [..., 3, H, W]."""
        patches = _patches(pixels.flatten(0, -4)).flatten(0, 2).double()
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
        strength, basis = values.flip(0)[:CHANNELS], vectors.flip(1)[:, :CHANNELS]
        # The sign of a component is arbitrary: the largest entry is made positive, so that every machine agrees.
        basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
        # The fourth root of the variance is half way (in decibels) between raw and whitened: fine structure, by which
        # shapes differ, keeps enough weight, and noise in it costs little.
        scale = strength**0.25
        scale = scale * (strength / scale**2).mean().sqrt() / SPREAD
        self.mean.copy_(mean)
        self.into.copy_(basis / scale)
        self.out.copy_((basis * scale).T)
        return self

    frames_per_second = 4.0

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latents [B, F, 16, H / 4, W / 4] of pictures [B, F, 3, H, W] in 0..1."""
        latents = (_patches(pixels.flatten(0, 1)) - self.mean) @ self.into
        return rearrange(latents, "(b f) h w c -> b f c h w", b=pixels.shape[0])

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures [B, F, 3, 4 h, 4 w] in 0..1 of latents [B, F, 16, h, w]."""
        flat = rearrange(latents.to(self.out), "b f c h w -> (b f) h w c") @ self.out + self.mean
        pictures = rearrange(flat, "n h w (c p q) -> n c (h p) (w q)", p=PATCH, q=PATCH).clamp(0, 1)
        return pictures.unflatten(0, latents.shape[:2])

    def decoder(self) -> FrameDecoder:
        """Return a decoder of a video chunk by chunk; every frame is decoded independently."""
        return FrameDecoder(self)

    def footprint(self, batch: int, latent_size: tuple[int, int]) -> int:
        """Return 0: the pictures of a chunk are too small to matter for a plan."""
        return 0


class FrameDecoder:
    """Decoder of consecutive chunks, without a state between them."""

    def __init__(self, codec: PatchCodec) -> None:
        self.codec = codec

    def __call__(self, latents: Tensor) -> Tensor:
        return self.codec.decode(latents)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def _patches(pictures: Tensor) -> Tensor:
    return rearrange(pictures, "n c (h p) (w q) -> n h w (c p q)", p=PATCH, q=PATCH)
