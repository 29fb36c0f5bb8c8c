"""Structural similarity (SSIM, Wang et al. 2004) of pictures to references: Gaussian window, sigma 1.5, 11 pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS, SIGMA = 11, 1.5
FIRST, SECOND = 0.01**2, 0.03**2
"""The constants of Wang et al. 2004 for values 0 to 1."""
SLAB = 24
"""Small pictures that are looked at together, so that what is computed of them stays in the processor's cache."""


def structural_similarity(pictures: Tensor, references: Tensor) -> Tensor:
    """Return the similarity of each picture to its reference.

    Parameters
    ----------
    pictures, references
        [..., 3, H, W] in 0..1, with sides of at least 6 pixels.

    Returns
    -------
    Tensor
        [...]; 1 where they are the same.
    """
    pairs = zip(pictures.flatten(0, -4).split(SLAB), references.flatten(0, -4).split(SLAB), strict=True)
    found = []
    for ours, theirs in pairs:
        mean, spread = _moments(ours)
        found.append(_similarity(ours, mean, spread, theirs, *_moments(theirs)).mean((-3, -2, -1)))
    return torch.cat(found).reshape(pictures.shape[:-3])


class SsimOfPairs:
    """Structural similarity of pictures to some references, which are looked at once.

    It is `structural_similarity` of all pairs; what belongs to a picture or to a reference alone is computed once.

    Parameters
    ----------
    references
        [B, R, 3, H, W] in 0..1.
    """

    def __init__(self, references: Tensor) -> None:
        # Channel by channel, so that what is computed on the way is small enough to be kept in the cache.
        self.known = [[[(each, *_moments(each)) for each in one.split(1)] for one in row] for row in references]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the mean over all pairs of pictures [B, T, 3, H, W] and references; [B], on the CPU."""
        found = []
        for shown, known in zip(pictures, self.known, strict=True):
            total = 0.0
            for picture in shown:
                for number, channel in enumerate(picture.split(1)):
                    mean, spread = _moments(channel)
                    for one in known:
                        total += float(_similarity(channel, mean, spread, *one[number]).mean())
            found.append(total / (len(shown) * len(known) * shown.shape[1]))
        return torch.tensor(found)


def _similarity(
    one: Tensor, its_mean: Tensor, its_spread: Tensor, other: Tensor, mean: Tensor, spread: Tensor
) -> Tensor:
    """Return the similarity at every pixel of pictures [..., 3, H, W] whose moments are known."""
    both = its_mean * mean
    together = _blurred(one * other).sub_(both).mul_(2).add_(SECOND)
    upper = both.mul_(2).add_(FIRST).mul_(together)
    lower = (its_mean * its_mean).add_(mean * mean).add_(FIRST)
    return upper.div_(lower.mul_((its_spread + spread).add_(SECOND)))


def _moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance under the window, of the picture's shape each."""
    mean = _blurred(picture)
    return mean, _blurred(picture * picture).sub_(mean * mean).clamp_(min=0)


def _blurred(values: Tensor) -> Tensor:
    """Return values [..., 3, H, W] under the window, applied row by row and column by column; at the edges it sees the
    picture mirrored."""
    weights = [math.exp(-((tap - TAPS // 2) ** 2) / (2 * SIGMA**2)) for tap in range(TAPS)]
    sums = sum(weights)
    values = F.pad(values, (TAPS // 2,) * 4, mode="reflect")
    for axis in (-2, -1):
        length = values.shape[axis] - TAPS + 1
        made = values.narrow(axis, 0, length) * (weights[0] / sums)
        for tap in range(1, TAPS):
            made.add_(values.narrow(axis, tap, length), alpha=weights[tap] / sums)
        values = made
    return values
