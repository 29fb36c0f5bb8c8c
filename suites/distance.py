"""Distance to full attention: the loss that a memory causes in a single chunk, before errors accumulate.

Teacher forcing: every memory receives the same past, chunk by chunk, and draws each next chunk with the same noise. The
chunk is compared with the one that full attention draws there, and then dropped. So nothing drifts, and the whole
difference comes from frames that the memory lacks or approximates. Videos stay within the trained length.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness import registry
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.rollout.task_rollout import rollout_of
from harness.suite import Column, Display, Metric, Place, QualitySuite, Row, Sample, Task, rollout_seeds
from suites.observers.truth import true_latents
from suites.prompts.known import half_said

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 60_000
ROWS, QUICK_ROWS, ROWS_WITHOUT_TRUTH = 32, 16, 8
"""Rollouts in a known world, those of its tier "quick", and those on other backbones, which are larger."""
LARGE = 10**8
"""Number of parameters from which a model draws one row at a time."""

_references: Kept[Tensor] = Kept()


class Distance(QualitySuite):
    """Difference of the next chunk to that of full attention after the same past."""

    name = "distance"
    version = "1"
    tiers = ("quick", "full", "long", "day")

    @property
    def metrics(self) -> Mapping[str, Metric]:
        about = "squared difference of the next chunk to that of full attention, of the latents' variance"
        return {"distance": Metric("% of variance", "lower", about, 0, yardstick="full")}

    def remedy(self, backbone: Backbone) -> str | None:
        return None if backbone.prompts else "needs a backbone with example prompts"

    def references(self) -> Sequence[Strategy]:
        return (registry.strategy("full"),)

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        # Videos never exceed the trained length, so longer tiers add nothing.
        frames = backbone.trained_frames // backbone.chunk * backbone.chunk
        world = backbone.world
        known = QUICK_ROWS if tier == "quick" else ROWS
        count = known if world is not None else ROWS_WITHOUT_TRUTH
        seeds = rollout_seeds(seed, count, FIRST_SEED)
        texts = [backbone.prompts[number % len(backbone.prompts)] for number in range(count)]
        if world is not None:
            texts = [half_said(world, each) if each % 2 else world.prompt({}) for each in seeds]
        rows = tuple(Row(each, ((0, text),)) for each, text in zip(seeds, texts, strict=True))
        # With a large model, full attention over the trained length fills a device with a single row.
        large = sum(x.numel() for x in backbone.model.parameters()) >= LARGE
        batches = [(row,) for row in rows] if large else [rows]
        return [Task("forced", frames, 0, batch, forced=True) for batch in batches]

    def at_equal_budget(self, task: Task, tier: str) -> bool:
        return tier != "quick"

    def given(self, backbone: Backbone, task: Task) -> Tensor:
        def clips() -> Tensor:
            if backbone.world is not None and backbone.codec is not None:
                return true_latents(backbone, task, task.frames)
            # Without a known world, the past is the backbone's own video.
            return _full(backbone, task, None)

        return _references.get(backbone.model, ("given", task), clips)

    def observer(self, backbone: Backbone, task: Task, place: Place) -> Comparison:
        return Comparison(backbone, task, self.given(backbone, task))

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        return Display(columns=(Column("forced", "distance", "distance to full (%)"),), order=10)

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Return a rollout's mean over its chunks."""
        import pandas as pd

        keys = [name for name in samples.columns if name not in ("at_frame", "value")]
        mean = samples.groupby(keys, observed=True, sort=False)["value"].mean().reset_index()
        return pd.DataFrame(mean.assign(at_frame=mean["horizon_latent_frames"]))


class Comparison:
    """Observer that compares every chunk with that of full attention."""

    def __init__(self, backbone: Backbone, task: Task, given: Tensor) -> None:
        self.full = _references.get(backbone.model, task, lambda: _full(backbone, task, given))
        self.variance = float(given.float().var())
        self.taken: list[Sample] = []

    def see(self, latents: Tensor, start: int) -> None:
        stop = start + latents.shape[1]
        off = (latents.float() - self.full[:, start:stop].float()).square().flatten(1).mean(1)
        self.taken += [
            Sample(row, "distance", stop, round(100 * value / self.variance, 6))
            for row, value in enumerate(off.tolist())
        ]

    def samples(self) -> list[Sample]:
        return self.taken

    def pictures(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"taken": [list(sample) for sample in self.taken]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.taken = [Sample(*sample) for sample in state["taken"]]


def _full(backbone: Backbone, task: Task, forced: Tensor | None) -> Tensor:
    """Return the chunks that full attention draws in a task, [B, F, C, H, W], after the forced past or its own."""
    chunks = rollout_of(backbone, registry.strategy("full"), task, given=forced)
    return torch.cat([chunk.latents for chunk in chunks], 1)
