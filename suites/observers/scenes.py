"""Observer of rollouts with prompt switches in a known world: attributes frame by frame, compared with the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.world import UNSURE, agreed
from harness.suite import Sample, Task
from suites.observers.filmstrip import Strip
from suites.observers.picture_metrics import changes
from suites.observers.truth import truth_of

SURE = 0.9
"""Confidence of the probe from which a switch counts as followed."""
LEAKS = (6, 12, 21)
"""Latent frames after a switch at which remains of the old scene are measured."""
SETTLED = 6
"""Number of latent frames (two chunks) from which the attributes of a scene are read."""
MANY = 4
"""Smallest number of scenes for which all switches of a rollout are scored, and not only the last."""


@dataclass(frozen=True)
class Span:
    """One scene of all rows.

    Parameters
    ----------
    start, end
        Latent frames between which it lasts.
    kind
        How it is entered.
    before
        What the scene before showed at its end, `UNSURE` where that cannot be read. Int64 [B, seen].
    meant
        Its true values. Int64 [B, seen].
    known
        Which of them the rollout can know. Bool [B, seen].
    """

    start: int
    end: int
    kind: str
    before: Tensor
    meant: Tensor
    known: Tensor


class Scenes:
    """Observer of one task."""

    def __init__(self, backbone: Backbone, task: Task) -> None:
        assert backbone.world is not None
        assert backbone.codec is not None
        self.task, self.world = task, backbone.world
        self.decode = backbone.codec.decoder()
        self.values: list[Tensor] = []  # [B, T, seen] a chunk
        self.confidence: list[Tensor] = []
        self.changes: list[Tensor] = []  # from each frame to the next; [B, T], one less in the first chunk
        self.last: Tensor | None = None
        self.strip = Strip(task.frames)

    def see(self, latents: Tensor, start: int) -> None:
        pictures = self.decode(latents.float().cpu())
        reading = self.world.read(pictures)
        self.values.append(reading.values)
        self.confidence.append(reading.confidence)
        joined = pictures if self.last is None else torch.cat((self.last, pictures), 1)
        self.changes.append(changes(joined))
        self.last = pictures[:, -1:]
        self.strip.see(pictures, start)

    def pictures(self) -> dict[str, Any]:
        return self.strip.arrays()

    def state_dict(self) -> dict[str, Any]:
        return {
            "values": list(self.values),
            "confidence": list(self.confidence),
            "changes": list(self.changes),
            "last": self.last,
            "strip": self.strip.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self.confidence = list(state["values"]), list(state["confidence"])
        self.changes, self.last = list(state["changes"]), state["last"]
        self.strip.load_state_dict(state["strip"])

    def samples(self) -> list[Sample]:
        seen, sure = torch.cat(self.values, 1), torch.cat(self.confidence, 1)
        truth = truth_of(self.world, self.task, self.task.frames)
        looks, fade = truth.values[..., : len(self.world.seen)], self.world.fade
        steps = torch.cat(self.changes, 1)
        beyond = steps - changes(truth.pixels)
        first = looks[:, 0]
        taken: list[Sample] = []

        def take(metric: str, at: int, values: Tensor) -> None:
            taken.extend(
                Sample(row, metric, at, None if math.isnan(value) else round(value, 6))
                for row, value in enumerate(values.tolist())
            )

        spans = self._spans(seen, looks)
        for number, span in enumerate(spans):
            here = slice(span.start, span.end)
            values, confidence = seen[:, here], sure[:, here]
            length = span.end - span.start
            settled = agreed(values[:, SETTLED : SETTLED + 3])
            take("constancy", span.start, _share(agreed(values[:, -3:]) == settled, settled != UNSURE))
            still = _share(values == first[:, None], torch.ones_like(values, dtype=torch.bool))
            for place in range(2, length, 3):
                take("first_scene", span.start + place + 1, still[:, place])
            if not span.start:
                continue
            right = values == span.meant[:, None]
            news = span.known & (span.before != span.meant)
            follows = _share(right * confidence, news[:, None].expand(right.shape))
            # Values that must disappear: the previous scene showed them, and this one is not known to share them.
            gone = (span.before != UNSURE) & ~(span.known & (span.before == span.meant))
            stays = _share(values == span.before[:, None], gone[:, None].expand(values.shape))
            other = _share(values == span.before.roll(1, 0)[:, None], gone[:, None].expand(values.shape))
            for place in range(2, length, 3):
                take("new_scene", span.start + place + 1, follows[:, place])
                take("old_scene", span.start + place + 1, stays[:, place])
            there = (right & (confidence >= SURE)) | ~news[:, None]
            followed = there.all(-1)
            any_news = news.any(1)
            if span.kind != "recall" and any(later.kind == "recall" for later in spans[number:]):
                # A scene that was never left cannot be recalled, so recall counts only where this is 1.
                take("left", span.start, followed.any(1).float().masked_fill(~any_news, torch.nan))
            if len(spans) < MANY and number < len(spans) - 1:
                continue  # a way to the switch that the scenario is about
            for frames in LEAKS:
                if frames <= length:
                    take(f"leakage_{frames}", span.start, stays[:, frames - 3 : frames].mean(1))
            take("leakage_chance", span.start, other[:, SETTLED:].mean(1))
            until = torch.where(followed.any(1), followed.int().argmax(1) + 1, length).float()
            take("response", span.start, until.masked_fill(~any_news, torch.nan))
            take("responded", span.start, followed.any(1).float().masked_fill(~any_news, torch.nan))
            jump = beyond[:, span.start - 1 : span.start - 1 + 2 * fade].amax(1)
            take("jump", span.start, jump)
            if span.kind == "recall":
                every = torch.ones_like(values, dtype=torch.bool)
                take("recall", span.start, _share(right, every)[:, fade:].mean(1))
                stranger = _share(values == span.meant.roll(1, 0)[:, None], every)
                take("recall_chance", span.start, stranger[:, fade:].mean(1))
                other = (span.meant != first)[:, None].expand(values.shape)
                reverted = _share(values == first[:, None], other)
                take("reverted", span.start, reverted[:, fade:].mean(1))
        return taken

    def _spans(self, seen: Tensor, looks: Tensor) -> list[Span]:
        scripts = [row.script for row in self.task.rows]
        starts = [start for start, _ in scripts[0]]
        spans = []
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], self.task.frames], strict=True)):
            kind = self.task.boundaries[number]
            stated = [self.world.said(script[number][1]) for script in scripts]
            said = torch.tensor([[name in each for name in self.world.seen] for each in stated])
            # A cut draws what it does not say anew, and how is for the video to choose.
            known = said if kind == "hardcut" else torch.ones_like(said)
            before = agreed(seen[:, start - 3 : start]) if start else torch.full_like(looks[:, 0], UNSURE)
            spans.append(Span(start, end, kind, before, looks[:, end - 1], known))
        return spans


def _share(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over the attributes that count, [..., seen] -> [...]; NaN where none counts."""
    return torch.where(counts, values.float(), 0).sum(-1) / counts.sum(-1)
