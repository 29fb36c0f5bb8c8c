"""What describes a latent frame by a vector: means over space, or the encoder of a trained autoencoder of frames."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbone.checkpoints import CONTAINERS, read_tensors
from harness.errors import CheckpointError
from harness.memory import at_least_float32

GROUPS = (32, 16, 8, 4, 1)
"""Groups of a norm: the first number that divides the channels."""
PREFIX = "encoder."
REMEMBERED = 4
"""Encoders that stay in memory, by file: every rollout opens its own memory."""


def averaged(latents: Tensor) -> Tensor:
    """Return the means over space of latents [B, frames, C, H, W], in float32 at least: [B, frames, C]."""
    return latents.to(at_least_float32(latents.dtype)).mean((3, 4))


class FrameEncoder(nn.Module):
    """The encoder of LongLive-RAG's frame autoencoder; its sizes are those of its parameters.

    Parameters
    ----------
    channels
        Channels of a latent frame.
    widths
        Channels after each halving of the picture.
    size
        Size of a descriptor.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], size: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for before, width in zip((channels, *widths), widths, strict=False):
            stack += [nn.Conv2d(before, width, 3, stride=2, padding=1), _norm(width), nn.SiLU(), _Residual(width)]
        self.conv_stack = nn.Sequential(*stack)
        self.final_norm = nn.Sequential(_norm(widths[-1]))
        self.fc = nn.Linear(widths[-1], size)
        self.channels, self.size = channels, size

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [B, frames, C, H, W] to descriptors of length 1, [B, frames, size]."""
        x = F.silu(self.final_norm(self.conv_stack(latents.flatten(0, 1))))
        return F.normalize(self.fc(x.mean((2, 3))), dim=-1, eps=1e-12).unflatten(0, latents.shape[:2])


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        halves = [(_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(2)]
        self.block = nn.Sequential(*(part for half in halves for part in half))

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] to the same."""
        return x + self.block(x)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(next(groups for groups in GROUPS if channels % groups == 0), channels)


def read_encoder(path: Path, dtype: torch.dtype, device: torch.device) -> FrameEncoder:
    """Return the encoder that a file holds; what else is in the file, such as a decoder, is left out.

    Raises
    ------
    CheckpointError
        For a file that is missing or damaged, or that holds no such encoder.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the frame encoder that LongLive-RAG's code trains")
    return _read(path, path.stat().st_mtime_ns, dtype, device)


def _sizes(x: Tensor) -> str:
    return " x ".join(map(str, x.shape)) or "a number"


@lru_cache(REMEMBERED)
def _read(path: Path, changed: int, dtype: torch.dtype, device: torch.device) -> FrameEncoder:
    tensors, _ = read_tensors(path, CONTAINERS)
    state = {name.removeprefix(PREFIX): x for name, x in tensors.items() if name.startswith(PREFIX)}
    # Every fourth module of the stack is a convolution; the rest of its names has more parts.
    stack = sorted(int(found[1]) for name in state if (found := re.fullmatch(r"conv_stack\.(\d+)\.weight", name)))
    convolutions = [state[f"conv_stack.{number}.weight"] for number in stack if number % 4 == 0]
    if not convolutions or any(x.ndim != 4 for x in convolutions) or getattr(state.get("fc.weight"), "ndim", 0) != 2:
        raise CheckpointError(f"{path}: holds no frame encoder: expected {PREFIX}conv_stack.0.weight and {PREFIX}fc.*")
    with torch.device("meta"):
        widths = tuple(x.shape[0] for x in convolutions)
        encoder = FrameEncoder(convolutions[0].shape[1], widths, state["fc.weight"].shape[0])
    for name, wanted in encoder.state_dict().items():
        if name in state and state[name].shape != wanted.shape:
            raise CheckpointError(
                f"{path}: not the frame encoder of LongLive-RAG: size mismatch: {PREFIX}{name} is "
                f"{_sizes(state[name])}; allowed: {_sizes(wanted)}"
            )
    try:
        encoder.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not the frame encoder of LongLive-RAG: {reason[:200]}") from None
    return encoder.to(device, dtype).requires_grad_(False).eval()
