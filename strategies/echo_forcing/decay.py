"""Difference-aware decay: what was carried into a scene fades the faster, the more the scene differs from it.

Paper: Echo-Forcing, arXiv:2605.16003.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLAT = 1e-6
"""Differences that span less than this are no differences."""


def decay_rates(new: Tensor, carried: Tensor, slow: float, fast: float) -> Tensor:
    """Factor a chunk for every token of a frame, [B, S]: `slow` where `new` is most like `carried`, `fast` where least.

    new, carried: un-rotated keys [B, S, heads, channels] of the scene's first frame, and of the first carried one.
    Differences (1 - cosine) are scaled to 0..1 within the frame.
    """
    wide = torch.promote_types(new.dtype, torch.float32)
    difference = 1 - torch.cosine_similarity(new.flatten(2).to(wide), carried.flatten(2).to(wide), dim=2)
    low, high = difference.amin(1, keepdim=True), difference.amax(1, keepdim=True)
    spread = high - low
    scaled = torch.where(spread < FLAT, 0.0, (difference - low) / spread.clamp(min=FLAT))
    return slow - (slow - fast) * scaled
