"""Difference-aware decay: carried entries fade faster the more the new scene differs from them.

Paper: Echo-Forcing, arXiv:2605.16003.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.memory import at_least_float32

FLAT = 1e-6
"""A range of differences below this counts as none."""


def decay_rates(new: Tensor, carried: Tensor, slow: float, fast: float) -> Tensor:
    """Return a factor a chunk for each token of a frame, [B, S], from `slow` (`new` most like `carried`) to `fast`.

    new, carried: un-rotated keys [B, S, heads, channels] of the scene's first frame, and of the first carried one.
    Differences (1 - cosine) are scaled to 0..1 within the frame.
    """
    wide = at_least_float32(new.dtype)
    difference = 1 - torch.cosine_similarity(new.flatten(2).to(wide), carried.flatten(2).to(wide), dim=2)
    low, high = difference.amin(1, keepdim=True), difference.amax(1, keepdim=True)
    spread = high - low
    scaled = torch.where(spread < FLAT, 0.0, (difference - low) / spread.clamp(min=FLAT))
    return slow - (slow - fast) * scaled
