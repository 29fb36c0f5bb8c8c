"""Picture metrics that need no model: sharpness, colour, similarity; change from frame to frame, repetition."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from harness import registry
from harness.suite import Metric, PictureMetric
from suites.observers.structural import structural_similarity

LARGE = 1 << 17
"""Values of a picture from which on it is large: half a megabyte, more than a core's cache holds beside others."""


class Sharpness(PictureMetric):
    """Mean absolute difference of neighbouring pixels, relative to that of the reference."""

    metric = Metric("1", "neither", "relative to the true scene; 1 is equally sharp", 0)

    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        return _steepness(pictures) / _detail(reference)


class SharpnessOfPairs:
    """Sharpness of pictures relative to some references [B, R, 3, H, W], each of which is looked at once."""

    def __init__(self, references: Tensor) -> None:
        self.known = _detail(references)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the mean over all pairs of pictures [B, T, 3, H, W] and references; [B], on the CPU."""
        return (_steepness(pictures)[:, :, None] / self.known[:, None]).mean((1, 2)).cpu()


class ColourDistance(PictureMetric):
    """Distance of mean colours: 1 is the distance from black to white."""

    metric = Metric("1", "lower", "of mean colours, to the true scene's", 0, 1)

    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        return (pictures.mean((-2, -1)) - reference.mean((-2, -1))).square().mean(-1).sqrt()


class Ssim(PictureMetric):
    """Structural similarity (Wang et al. 2004) under a Gaussian window of 11 pixels."""

    metric = Metric("1", "higher", "similarity to the true scene drawn where the object is", -1, 1)

    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        return structural_similarity(pictures, reference)


def picture_metrics() -> tuple[dict[str, PictureMetric], dict[str, str]]:
    """Return the registered metrics that can run here, by name; and the remedies of the others."""
    can: dict[str, PictureMetric] = {}
    cannot: dict[str, str] = {}
    for name in registry.found("metrics"):
        made: PictureMetric = registry.load("metrics", name)()
        remedy = made.remedy()
        if remedy is None:
            can[name] = made
        else:
            cannot[name] = remedy
    return can, cannot


def _steepness(pictures: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, across and down; [..., 3, H, W] -> [...]."""
    across = difference(pictures[..., 1:], pictures[..., :-1])
    return across + difference(pictures[..., 1:, :], pictures[..., :-1, :])


def _detail(references: Tensor) -> Tensor:
    """Return the steepness of references, NaN where one is of a single colour and has no detail to compare with."""
    steepness = _steepness(references)
    return torch.where(steepness > 0, steepness, torch.nan)


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean absolute difference of pictures, [..., 3, H, W] -> [...]."""
    return _mean_of_difference(one, other, Tensor.abs_)


def squared_difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared difference of pictures, [..., 3, H, W] -> [...]."""
    return _mean_of_difference(one, other, Tensor.square_)


def _mean_of_difference(one: Tensor, other: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean over each picture of a function, applied in place, of the difference.

    Large pictures on a CPU are subtracted one by one in the same memory: to allocate and fill megabytes takes several
    times as long as to subtract.
    """
    if one.device.type != "cpu" or one.shape[-3:].numel() < LARGE:
        return apply(one - other).mean((-3, -2, -1))
    one, other = torch.broadcast_tensors(one, other)
    found = one.new_empty(one.shape[:-3])
    room = one.new_empty(one.shape[-3:])
    for place in itertools.product(*map(range, one.shape[:-3])):
        found[place] = apply(torch.sub(one[place], other[place], out=room)).mean()
    return found


def changes(pictures: Tensor) -> Tensor:
    """Return the mean absolute change from each frame to the next: [B, T, 3, H, W] -> [B, T - 1]."""
    return difference(pictures[:, 1:], pictures[:, :-1])


def period(pictures: Tensor, longest: int, tolerance: float = 0.01) -> Tensor:
    """Return the frames after which pictures [B, T, 3, H, W] repeat, 0 where they do not within `longest`; int64 [B].

    Pictures repeat when no picture differs from the one a period before by more than `tolerance` on average. Pictures
    sampled from new noise never do so; frozen or looped ones always do.
    """
    found = torch.zeros(len(pictures), dtype=torch.int64, device=pictures.device)
    for frames in range(min(longest, pictures.shape[1] // 2), 0, -1):
        # The last picture decides most cases. A device is not asked, because the answer would have to be waited for.
        if found.device.type == "cpu" and (difference(pictures[:, -1], pictures[:, -1 - frames]) > tolerance).all():
            continue
        change = difference(pictures[:, frames:], pictures[:, :-frames]).amax(1)
        found = torch.where(change <= tolerance, frames, found)
    return found
