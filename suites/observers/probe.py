"""Observer of rollouts in a known world: attributes window by window, compared with the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.suite import Sample, Task
from suites.observers.filmstrip import Strip
from suites.observers.picture_metrics import changes, period, picture_metrics
from suites.observers.states import States, share
from suites.observers.truth import truth_of

FIRST = 9
"""First latent frames (three chunks), from which the values of attributes that the prompt leaves open are read."""


def edges(frames: int) -> list[int]:
    """Return the latent frames at which windows end: 9, 21, then every 15; later windows are wider."""
    ends = [9, 21]
    for until, width in ((240, 15), (960, 60), (14_400, 240), (10**9, 960)):
        while ends[-1] < min(until, frames):
            # The first window after 21 frames ends at 30, and all others at multiples of their width.
            ends.append(min((ends[-1] // width + 1) * width, until, frames))
    return [end for end in ends if end < frames] + [frames]


class Watch:
    """Observer of one task. The reference is the truth where it is known, otherwise the content of the first chunks."""

    def __init__(self, backbone: Backbone, task: Task) -> None:
        assert backbone.world is not None
        assert backbone.codec is not None
        self.task, self.world = task, backbone.world
        self.decode = backbone.codec.decoder()
        self.chunk = backbone.chunk
        said = [self.world.said(row.script[0][1]) for row in task.rows]
        self.said = torch.tensor([[name in each for name in self.world.attributes] for each in said])
        self.metrics, _ = picture_metrics()
        self.ends = edges(task.frames)
        self.window: list[Tensor] = []  # pictures since the last edge, one tensor a chunk
        self.before: Tensor | None = None  # the last picture before them
        self.shown: Tensor | None = None  # seen in the first chunks where none were given, [B, attributes]
        self.taken: list[Sample] = []
        self.strip = Strip(task.frames)
        self.states = States(self.world, task)

    def see(self, latents: Tensor, start: int) -> None:
        pictures = self.decode(latents.float().cpu())
        self.window.append(pictures)
        self.strip.see(pictures, start)
        stop = start + pictures.shape[1]
        if stop >= self.ends[0]:
            run = torch.cat(self.window, 1)
            self._measure(run, stop)
            self.before, self.window = run[:, -1:], []
            self.ends.pop(0)

    def samples(self) -> list[Sample]:
        return self.taken

    def pictures(self) -> dict[str, Any]:
        return self.strip.arrays()

    def state_dict(self) -> dict[str, Any]:
        return {
            "ends": list(self.ends),
            "window": list(self.window),
            "before": self.before,
            "shown": self.shown,
            "taken": [list(sample) for sample in self.taken],
            "strip": self.strip.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ends, self.window, self.before = list(state["ends"]), list(state["window"]), state["before"]
        self.shown = state["shown"]
        self.strip.load_state_dict(state["strip"])
        self.taken = [Sample(*sample) for sample in state["taken"]]

    def _measure(self, run: Tensor, stop: int) -> None:
        """Take the samples of the window [B, T, 3, H, W] that ends at latent frame `stop`."""
        first = stop - run.shape[1]
        truth = truth_of(self.world, self.task, run.shape[1], first)
        expected = self._expected(run, truth.values[:, -1], first)
        # Given frames do not depend on the memory, and a curtain hides the scene.
        counts = truth.visible & (torch.arange(first, stop) >= self.task.given)
        reading = self.world.read(run)
        seen = len(self.world.seen)
        # The truth may change within a window; the values that a video chose for an open prompt may not.
        wanted = truth.values[..., :seen] if self.task.given else expected[:, None, :seen]
        right = (reading.values == wanted) & (wanted >= 0)
        by_attribute = share(right, counts[..., None], 1)
        legal = self.world.steps(reading, expected)
        steps = counts[:, 1:] & counts[:, :-1]
        present = share(reading.present, counts, 1)
        motion = share(legal, steps, 1)
        guard = self._guard(run, expected, present, motion)
        visible = by_attribute * guard[:, None]
        said = self.said[:, :seen]
        values = truth.values.clone()
        values[..., :seen] = torch.where(wanted >= 0, wanted, values[..., :seen])
        nearest = self.world.paint(values, reading.places)
        rows = {
            "identity": visible.mean(1),
            "unsaid_identity": share(visible, ~said & visible.isfinite(), 1),
            "said_identity": share(visible, said & visible.isfinite(), 1),
            **{f"identity_{name}": visible[:, column] for column, name in enumerate(self.world.seen)},
            "presence": present,
            "motion": motion,
            "guard": guard,
            **{name: share(metric(run, nearest), counts, 1) for name, metric in self.metrics.items()},
            "seam": self._seam(run, first, counts),
            **{name: part * guard for name, part in self.states.shares(reading.values, counts, stop).items()},
        }
        for metric, values in rows.items():
            self.taken += [
                Sample(row, metric, stop, None if math.isnan(value) else round(value, 6))
                for row, value in enumerate(values.tolist())
            ]

    def _expected(self, run: Tensor, truth: Tensor, first: int) -> Tensor:
        """Return the expected values [B, attributes]: the truth, or, without given frames, the values that the first
        chunks chose for attributes that the prompt leaves open."""
        if self.task.given:
            return truth
        if self.shown is None:
            self.shown = self.world.read_run(run[:, : FIRST - first])
        return torch.where(self.said, truth, self.shown)

    def _guard(self, run: Tensor, expected: Tensor, present: Tensor, motion: Tensor) -> Tensor:
        """Return 0 where a video has no object, is frozen, or is a loop, else 1; [B]."""
        moves = self.world.moves(expected)
        recent = run[:, -24:]
        repeats = period(recent, longest=6)
        # An object that swings comes back after a swing; one at rest is always the same.
        cycle = self.world.cycle
        fair = (repeats == 0) | ~moves | ((repeats % cycle == 0) if cycle else torch.zeros_like(moves))
        frozen = moves & (changes(recent).amax(1) <= 0.01)
        fails = (present < 0.5) | ~fair | frozen | (moves & (motion == 0))
        return torch.where(present.isnan(), torch.nan, (~fails).float())

    def _seam(self, run: Tensor, first: int, counts: Tensor) -> Tensor:
        """Return the change across chunk boundaries minus that inside of chunks, [B]."""
        joined = run if self.before is None else torch.cat((self.before, run), 1)
        change = changes(joined)
        arrives = torch.arange(first + (self.before is None), first + run.shape[1])
        across = (arrives % self.chunk == 0)[None] & counts[:, -change.shape[1] :]
        inside = (arrives % self.chunk != 0)[None] & counts[:, -change.shape[1] :]
        return share(change, across, 1) - share(change, inside, 1)
