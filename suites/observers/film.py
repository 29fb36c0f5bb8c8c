"""Observer of rollouts without a known truth: it films them, and compares them with their own first seconds.

Metrics that need other models or libraries (features, flow, VBench) are computed later from the finished films, by
viewers (`suites.viewers`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.campaign.film_list import WINDOWS
from harness.errors import NotFiniteError
from harness.files import write_text
from harness.suite import Margin, Metric, Place, Sample, Task
from suites.observers.filmstrip import Strip
from suites.picture_metrics import changes, period, picture_metrics

if TYPE_CHECKING:
    from harness.films.writer import VideoWriter

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


class Camera:
    """Observer of one task of a backbone with a codec: a film a row, and curves by window."""

    def __init__(self, backbone: Backbone, task: Task, place: Place) -> None:
        assert backbone.codec is not None
        self.task, self.place = task, place
        self.decoder = backbone.codec.decoder()
        self.rate = backbone.codec.frames_per_second
        self.chunk = backbone.chunk
        self.about = {**place.about, "backbone": backbone.name, "scenario": task.scenario, "latent_frames": task.frames}
        self.metrics, _ = picture_metrics()
        self.pixels = backbone.pixel_frames
        self.ends = edges(task.frames)
        self.begun = 0  # latent frame at which this window began
        self.window: list[Tensor] = []  # pictures of this window that are measured
        self.last: Tensor | None = None  # the last picture
        self.recent: Tensor | None = None  # the last pictures, reduced, for the guard
        self.steps: list[list[Tensor]] = [[], []]  # change inside of chunks, and across their boundaries
        self.reference: Tensor | None = None
        self.shown = 0
        self.taken: list[Sample] = []
        self.strip = Strip(task.frames)
        self.writers: list[VideoWriter] = []  # made at the first pictures, or from a saved state

    def see(self, latents: Tensor, start: int) -> None:
        pictures = self.decoder(latents).float()
        if not bool(pictures.isfinite().all()):
            # The writer would convert them to black pictures, and the film would look valid.
            raise NotFiniteError(f"pictures are not finite from latent frame {start} on")
        if self.last is not None and self.last.device != pictures.device:
            self._move(pictures.device)
        if not self.writers:
            self.writers = self._writers([0] * len(self.task.rows) * (2 if self.place.lossless else 1))
        small = _small(pictures)
        self.strip.see(small.cpu(), start)
        for number, writer in enumerate(self.writers):
            writer.write(pictures[number % len(self.task.rows)])
        self._step(pictures, small)
        each = self._spacing()
        first = (each // 2 - self.shown) % each
        # Copies, because a view would keep all pictures of its chunk in memory.
        self.window.append(pictures[:, first::each].clone())
        self.shown += pictures.shape[1]
        stop = start + latents.shape[1]
        if stop >= self.ends[0]:
            self.begun = self.ends.pop(0)
            self._measure(self.begun)
        if stop >= self.task.frames:
            for writer in self.writers:
                writer.join()
            write_text(self.place.folder / WINDOWS, json.dumps(edges(self.task.frames)))

    def samples(self) -> list[Sample]:
        return self.taken

    def pictures(self) -> dict[str, Any]:
        return self.strip.arrays()

    def state_dict(self) -> dict[str, Any]:
        return {
            "decoder": self.decoder.state_dict(),
            "pieces": [writer.cut() for writer in self.writers],
            "ends": list(self.ends),
            "begun": self.begun,
            "window": list(self.window),
            "last": self.last,
            "recent": self.recent,
            "steps": [list(steps) for steps in self.steps],
            "reference": self.reference,
            "shown": self.shown,
            "taken": [list(sample) for sample in self.taken],
            "strip": self.strip.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.decoder.load_state_dict(state["decoder"])
        self.writers = self._writers(state["pieces"])
        self.ends, self.window = list(state["ends"]), list(state["window"])
        self.begun, self.last, self.recent = state["begun"], state["last"], state["recent"]
        self.steps = [list(steps) for steps in state["steps"]]
        self.reference, self.shown = state["reference"], state["shown"]
        self.taken = [Sample(*sample) for sample in state["taken"]]
        self.strip.load_state_dict(state["strip"])

    def _writers(self, pieces: list[int]) -> list[VideoWriter]:
        """Return a film writer a row, then a lossless one a row, where these are requested."""
        # Imported here, because most processes that load this suite do not film.
        from harness.films.writer import VideoWriter

        made = []
        for number, there in enumerate(pieces):
            place = number % len(self.task.rows)
            row, lossless = self.task.rows[place], number >= len(self.task.rows)
            about = {"title": row.prompt, **self.about, "row": place, "prompt": row.prompt, "seed": row.seed}
            path = self.place.folder / f"{place}{'.mkv' if lossless else '.mp4'}"
            made.append(VideoWriter(path, self.rate, lossless=lossless, about=about, pieces=there))
        return made

    def _move(self, device: torch.device) -> None:
        """Move the tensors of a saved state to the device of the pictures."""
        self.window = [pictures.to(device) for pictures in self.window]
        self.steps = [[change.to(device) for change in steps] for steps in self.steps]
        self.last, self.recent, self.reference = (
            None if held is None else held.to(device) for held in (self.last, self.recent, self.reference)
        )

    def _spacing(self) -> int:
        """Return the pictures between measured ones: the middle one of each second, fewer in wide windows."""
        width = self.ends[0] - self.begun
        seconds = self.pixels(width) / self.rate
        return round(self.rate) * max(1, math.ceil(seconds / MEASURED))

    def _step(self, pictures: Tensor, small: Tensor) -> None:
        """Record the change between pictures, and keep the latest ones."""
        if self.last is not None:
            self.steps[1].append(changes(torch.cat((self.last, pictures[:, :1]), 1))[:, 0])
        self.steps[0].extend(changes(pictures).unbind(1))
        self.last = pictures[:, -1:].clone()
        self.recent = torch.cat(([] if self.recent is None else [self.recent]) + [small], 1)[:, -2 * LOOP :]

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
        rows = {name: self._likeness(metric, run) for name, metric in self.metrics.items()}
        rows |= {"psnr": self._psnr(run), "change": inside, "seam": across - inside, "guard": self._guard(inside)}
        for metric, values in rows.items():
            self.taken += [
                Sample(row, metric, stop, None if math.isnan(value) else round(value, 6))
                for row, value in enumerate(values.tolist())
            ]
        self.window, self.steps = [], [[], []]

    def _likeness(self, metric: Any, run: Tensor) -> Tensor:
        """Return the mean of a picture metric over all pairs of pictures of the window and of the beginning, [B]."""
        assert self.reference is not None
        pairs = [metric(run, one[:, None].expand_as(run)) for one in self.reference.unbind(1)]
        return torch.stack(pairs).mean((0, 2)).cpu()

    def _psnr(self, run: Tensor) -> Tensor:
        """Return the peak signal-to-noise ratio of the mean squared error over all pairs, in dB, at most 100; [B]."""
        assert self.reference is not None
        off = torch.stack([(run - one[:, None]).square().mean((1, 2, 3, 4)) for one in self.reference.unbind(1)]).mean(
            0
        )
        return -10 * off.clamp(min=1e-10).log10().cpu()

    def _guard(self, inside: Tensor) -> Tensor:
        """Return 0 where a video is blank, frozen, or a loop, else 1; [B]."""
        assert self.recent is not None
        blank = self.recent[:, -1].flatten(1).std(1) < 0.01
        loops = period(self.recent, longest=LOOP, tolerance=FROZEN) > 0
        return (~((blank | loops).cpu() | (inside <= FROZEN))).float()


def _small(pictures: Tensor) -> Tensor:
    factor = max(1, min(pictures.shape[-2:]) // STRIP)
    return F.avg_pool2d(pictures.flatten(0, 1), factor).unflatten(0, pictures.shape[:2])
