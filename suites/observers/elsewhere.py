"""Onlooker of films made elsewhere: the curves that rollouts get while they are filmed, and a filmstrip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from harness.suite import Sample
from suites.observers.curves import Curves, edges
from suites.observers.filmstrip import Strip


class Elsewhere:
    """Sees one film. frames: its latent frames; rate: pictures a second; pixels: pictures of so many latent frames."""

    def __init__(self, frames: int, rate: float, pixels: Callable[[int], int]) -> None:
        self.ends: Sequence[int] = edges(frames)
        self.curves, self.strip = Curves(edges(frames), rate, pixels, by_pairs=True), Strip(frames)

    def see(self, pictures: Tensor, start: int, stop: int, border: bool) -> None:
        """Take in a block of pictures [1, T, 3, H, W] in 0..1."""
        self.strip.see(self.curves.see(pictures, stop, border), start)

    def samples(self) -> list[Sample]:
        """Return all that was measured; `seam` is without a value where no chunk borders were told."""
        return [sample for sample in self.curves.taken if sample.metric != "seam" or sample.value is not None]

    def pictures(self) -> dict[str, Any]:
        """Return the filmstrip."""
        return self.strip.arrays()
