"""Pictures for filmstrips: a few of a task's first rollouts, evenly spaced over their length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

PICTURES = 12
"""Most pictures of a rollout."""
ROWS = 2
"""Rollouts of a task whose pictures are kept."""


class Strip:
    """Keeps the first picture of evenly spaced chunks, at most `PICTURES` over `frames` latent frames."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.kept: dict[int, Tensor] = {}  # latent frame -> pictures [rows, 3, H, W]

    def see(self, pictures: Tensor, start: int) -> None:
        """Take a chunk [B, T, 3, H, W] in 0..1 that begins at latent frame `start`."""
        if start * PICTURES >= len(self.kept) * self.frames:
            self.kept[start] = pictures[:ROWS, 0].clone()

    def arrays(self) -> dict[str, Any]:
        """Return the latent frames of the pictures, and the pictures [rows, pictures, 3, H, W] in 0..255."""
        frames = sorted(self.kept)
        strip = torch.stack([self.kept[frame] for frame in frames], 1)
        return {"frames": frames, "strip": (strip * 255).round().to(torch.uint8).numpy()}

    def state_dict(self) -> dict[int, Tensor]:
        return dict(self.kept)

    def load_state_dict(self, state: Mapping[int, Tensor]) -> None:
        self.kept = dict(state)
