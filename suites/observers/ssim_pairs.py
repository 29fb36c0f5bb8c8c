"""Structural similarity of pictures to each of several references, all pairs together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS, SIGMA = 11, 1.5
FIRST, SECOND = 0.01**2, 0.03**2
"""The constants of Wang et al. 2004 for values 0 to 1."""


class SsimOfPairs:
    """Structural similarity of pictures to some references, which are looked at once.

    It is that of `suites.observers.picture_metrics.Ssim`. What belongs to a picture or to a reference alone is computed
    once, and the window is applied row by row and column by column: ten times as fast for five references.

    Parameters
    ----------
    references
        [B, R, 3, H, W] in 0..1.
    """

    def __init__(self, references: Tensor) -> None:
        self.known = [[(one, *_moments(one)) for one in row] for row in references]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the mean over all pairs of pictures [B, T, 3, H, W] and references; [B], on the CPU."""
        found = []
        for shown, known in zip(pictures, self.known, strict=True):
            total = 0.0
            for picture in shown:
                mean, spread = _moments(picture)
                for one, its_mean, its_spread in known:
                    both = mean * its_mean
                    together = _blurred(picture * one).sub_(both).mul_(2).add_(SECOND)
                    upper = both.mul_(2).add_(FIRST).mul_(together)
                    lower = (mean * mean).add_(its_mean * its_mean).add_(FIRST)
                    lower.mul_((spread + its_spread).add_(SECOND))
                    total += float(upper.div_(lower).mean())
            found.append(total / (len(shown) * len(known)))
        return torch.tensor(found)


def _moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance under the window, [3, H, W] each."""
    mean = _blurred(picture)
    return mean, _blurred(picture * picture).sub_(mean * mean).clamp_(min=0)


def _blurred(values: Tensor) -> Tensor:
    """Return values [3, H, W] under a Gaussian window; at the edges it sees the picture mirrored."""
    weights = [math.exp(-((tap - TAPS // 2) ** 2) / (2 * SIGMA**2)) for tap in range(TAPS)]
    sums = sum(weights)
    around = TAPS // 2
    values = F.pad(values[None], (around,) * 4, mode="reflect")[0]
    for axis in (-2, -1):
        length = values.shape[axis] - TAPS + 1
        made = values.narrow(axis, 0, length) * (weights[0] / sums)
        for tap in range(1, TAPS):
            made.add_(values.narrow(axis, tap, length), alpha=weights[tap] / sums)
        values = made
    return values
