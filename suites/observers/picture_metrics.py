"""Picture metrics that need no model: sharpness, colour, similarity; change from frame to frame, repetition."""

from __future__ import annotations

import torch
from torch import Tensor

from harness import registry
from harness.suite import Metric, PictureMetric
from suites.observers.structural import structural_similarity


class Sharpness(PictureMetric):
    """Mean absolute difference of neighbouring pixels, relative to that of the reference."""

    metric = Metric("1", "neither", "relative to the true scene; 1 is equally sharp", 0)

    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        steepness = _steepness(reference)
        # A reference of one colour has no detail to compare with.
        return _steepness(pictures) / torch.where(steepness > 0, steepness, torch.nan)


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
    across, down = pictures.diff(dim=-1).abs(), pictures.diff(dim=-2).abs()
    return across.mean((-3, -2, -1)) + down.mean((-3, -2, -1))


def changes(pictures: Tensor) -> Tensor:
    """Return the mean absolute change from each frame to the next: [B, T, 3, H, W] -> [B, T - 1]."""
    return pictures.diff(dim=1).abs().mean((2, 3, 4))


def period(pictures: Tensor, longest: int, tolerance: float = 0.01) -> Tensor:
    """Return the frames after which pictures [B, T, 3, H, W] repeat, 0 where they do not within `longest`; int64 [B].

    Pictures repeat when no picture differs from the one a period before by more than `tolerance` on average. Pictures
    sampled from new noise never do so; frozen or looped ones always do.
    """
    found = torch.zeros(len(pictures), dtype=torch.int64, device=pictures.device)
    for frames in range(min(longest, pictures.shape[1] // 2), 0, -1):
        change = (pictures[:, frames:] - pictures[:, :-frames]).abs().mean((2, 3, 4)).amax(1)
        found = torch.where(change <= tolerance, frames, found)
    return found
