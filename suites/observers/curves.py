"""Curves of pictures by window, beside the pictures of their own first seconds: of rollouts while they are made, and of
films made elsewhere while they are imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.suite import Margin, Metric, Sample
from suites.observers.picture_metrics import (
    SharpnessOfPairs,
    changes,
    difference,
    period,
    picture_metrics,
    squared_difference,
)  # fmt: skip
from suites.observers.structural import SsimOfPairs

BEGINNING = 21
"""Latent frames (5 s, Self-Forcing's training length) whose pictures are the reference for all later ones."""
REFERENCES = 5
"""Pictures that represent the beginning."""
MEASURED = 16
"""Most measured pictures of a window, which bounds the memory for wide windows."""
FROZEN = 0.5 / 255
"""Mean change between pictures below which a video is frozen: half a step of eight bits."""
LOOP = 48
"""Longest loop that is detected, in pictures: three seconds."""

BY_PAIRS: Mapping[str, Callable[[Tensor], Callable[[Tensor], Tensor]]] = {
    "ssim": SsimOfPairs,
    "sharpness": SharpnessOfPairs,
}
"""Metrics whose mean over all pairs is computed from what is known of each picture and each reference."""

CURVES = {
    "psnr": Metric("dB", "higher", "similarity to pictures of the first seconds", 0),
    "change": Metric("1", "neither", "mean absolute change from picture to picture", 0, 1),
    "guard": Metric("share", "higher", "not blank, frozen or looped", 0, 1, Margin(absolute=0.05)),
    "seam": Metric("1", "lower", "change across chunk boundaries beyond that inside of chunks", -1, 1),
}
"""Curves beside the registered picture metrics."""


def edges(frames: int) -> list[int]:
    """Return the latent frames at which windows end: the beginning, then every 15; wider ones later in the video."""
    ends = [min(BEGINNING, frames)]
    for until, width in ((240, 15), (960, 60), (14_400, 240), (10**9, 960)):
        while ends[-1] < min(until, frames):
            ends.append(min((ends[-1] // width + 1) * width, until, frames))
    return ends


STRIP = 120
"""Size in pixels to which a filmstrip's pictures are reduced, by whole factors."""


class Curves:
    """Curves of the pictures of some videos, window by window.

    Parameters
    ----------
    ends
        Latent frames at which windows end, rising.
    rate
        Pictures per second.
    pixels
        Returns the pictures of so many latent frames.
    by_pairs
        Compute the metrics of `BY_PAIRS` for all pairs together, several times as fast, and equal within 1e-5.
    """

    def __init__(self, ends: list[int], rate: float, pixels: Callable[[int], int], by_pairs: bool = False) -> None:
        self.rate, self.pixels, self.by_pairs = rate, pixels, by_pairs
        self.metrics, _ = picture_metrics()
        self.ends = list(ends)
        self.begun = 0  # latent frame at which this window began
        self.window: list[Tensor] = []  # pictures of this window that are measured
        self.last: Tensor | None = None  # the last picture
        self.recent: list[Tensor] = []  # the last pictures, reduced, for the guard
        self.steps: list[list[Tensor]] = [[], []]  # change inside of chunks, and across their boundaries
        self.reference: Tensor | None = None
        self.pairs: dict[str, Callable[[Tensor], Tensor]] = {}
        self.shown = 0
        self.taken: list[Sample] = []

    def see(self, pictures: Tensor, stop: int, border: bool = True) -> Tensor:
        """Take in pictures [B, T, 3, H, W] in 0..1, which end at latent frame `stop`; return them, reduced.

        border: whether a chunk begins with them.
        """
        if self.last is not None and self.last.device != pictures.device:
            self.move(pictures.device)
        small = _small(pictures)
        self._step(pictures, small, border)
        each = self._spacing()
        first = (each // 2 - self.shown) % each
        # Copies, because a view would keep all pictures of its chunk in memory.
        self.window.append(pictures[:, first::each].clone())
        self.shown += pictures.shape[1]
        if stop >= self.ends[0]:
            self.begun = self.ends.pop(0)
            self._measure(self.begun)
        return small

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {
            "ends": list(self.ends),
            "begun": self.begun,
            "window": list(self.window),
            "last": self.last,
            "recent": self._latest(),
            "steps": [list(steps) for steps in self.steps],
            "reference": self.reference,
            "shown": self.shown,
            "taken": [list(sample) for sample in self.taken],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.ends, self.window = list(state["ends"]), list(state["window"])
        self.begun, self.last = state["begun"], state["last"]
        self.recent = [] if state["recent"] is None else [state["recent"]]
        self.steps = [list(steps) for steps in state["steps"]]
        self.reference, self.shown = state["reference"], state["shown"]
        self.taken = [Sample(*sample) for sample in state["taken"]]

    def move(self, device: torch.device) -> None:
        """Move the tensors of a saved state to the device of the pictures."""
        self.window = [pictures.to(device) for pictures in self.window]
        self.steps = [[change.to(device) for change in steps] for steps in self.steps]
        self.recent = [pictures.to(device) for pictures in self.recent]
        self.last, self.reference = (None if held is None else held.to(device) for held in (self.last, self.reference))

    def _spacing(self) -> int:
        """Return the pictures between measured ones: the middle one of each second, fewer in wide windows."""
        width = self.ends[0] - self.begun
        seconds = self.pixels(width) / self.rate
        return round(self.rate) * max(1, math.ceil(seconds / MEASURED))

    def _step(self, pictures: Tensor, small: Tensor, border: bool) -> None:
        """Record the change between pictures, and keep the latest ones."""
        if self.last is not None:
            self.steps[border].append(difference(pictures[:, 0], self.last[:, 0]))
        self.steps[0].extend(changes(pictures).unbind(1))
        self.last = pictures[:, -1:].clone()
        self.recent.append(small)
        while sum(x.shape[1] for x in self.recent[1:]) >= 2 * LOOP:
            del self.recent[0]

    def _latest(self) -> Tensor | None:
        """Return the last reduced pictures, as many as the longest loop takes twice; None before the first one."""
        return torch.cat(self.recent, 1)[:, -2 * LOOP :] if self.recent else None

    def _measure(self, stop: int) -> None:
        """Take the samples of the window that ends at latent frame `stop`."""
        assert self.last is not None
        # A short last window may have no measured picture; its last picture is measured then.
        run = torch.cat(self.window if any(x.shape[1] for x in self.window) else [self.last], 1)
        if self.reference is None:
            places = torch.linspace(0, run.shape[1] - 1, min(REFERENCES, run.shape[1])).round().long()
            self.reference = run[:, places]
        inside, across = (
            torch.stack(steps).mean(0).cpu() if steps else torch.full((len(run),), math.nan) for steps in self.steps
        )
        rows = {name: self._likeness(name, metric, run) for name, metric in self.metrics.items()}
        rows |= {"psnr": self._psnr(run), "change": inside, "seam": across - inside, "guard": self._guard(inside)}
        for metric, values in rows.items():
            self.taken += [
                Sample(row, metric, stop, None if math.isnan(value) else round(value, 6))
                for row, value in enumerate(values.tolist())
            ]
        self.window, self.steps = [], [[], []]

    def _likeness(self, name: str, metric: Any, run: Tensor) -> Tensor:
        """Return the mean of a picture metric over all pairs of pictures of the window and of the beginning, [B]."""
        assert self.reference is not None
        if self.by_pairs and name in BY_PAIRS:
            if name not in self.pairs:
                self.pairs[name] = BY_PAIRS[name](self.reference)
            return self.pairs[name](run)
        pairs = [metric(run, one[:, None].expand_as(run)) for one in self.reference.unbind(1)]
        return torch.stack(pairs).mean((0, 2)).cpu()

    def _psnr(self, run: Tensor) -> Tensor:
        """Return the peak signal-to-noise ratio of the mean squared error over all pairs, in dB, at most 100; [B]."""
        assert self.reference is not None
        off = torch.stack([squared_difference(run, one[:, None]) for one in self.reference.unbind(1)]).mean((0, 2))
        return -10 * off.clamp(min=1e-10).log10().cpu()

    def _guard(self, inside: Tensor) -> Tensor:
        """Return 0 where a video is blank, frozen, or a loop, else 1; [B]."""
        recent = self._latest()
        assert recent is not None
        blank = recent[:, -1].flatten(1).std(1) < 0.01
        loops = period(recent, longest=LOOP, tolerance=FROZEN) > 0
        return (~((blank | loops).cpu() | (inside <= FROZEN))).float()


def _small(pictures: Tensor) -> Tensor:
    factor = max(1, min(pictures.shape[-2:]) // STRIP)
    return F.avg_pool2d(pictures.flatten(0, 1), factor).unflatten(0, pictures.shape[:2])
