"""Fairness: can the model read the contexts of a memory?

Rollouts stay within the backbone's training length, so that every memory still holds all measured attributes. Scenarios
are "kept" (a rollout continues a scene) and "evolve" (a few attributes change, then the prompt names none). Full
attention sees all frames. A memory with a lower score has not lost the attributes: the model does not understand
contexts of this layout. Reports mark such strategies, so that a weakness of the model is not taken for one of the
memory.

Only attributes that a single picture shows are measured. A memory of two or three frames does not hold a motion, so
losing it is the memory's loss, which other suites measure. The suite needs a world whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness import registry
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.backbone.world import KnownWorld
from harness.memory import Strategy
from harness.rollout.task_rollout import rollout_of
from harness.suite import Column, Display, Metric, Place, QualitySuite, Row, Sample, Table, Task, rollout_seeds
from suites.observers.truth import true_latents, truth_of
from suites.prompts.known import evolve

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 80_000
ROWS = {"gate": 16, "quick": 16, "full": 64, "long": 32, "day": 32}
GIVEN = 3
READ = 6
"""Last latent frames of a video, from which its attributes are read."""
HANDICAPPED = 0.9
"""Share of the score of full attention below which a strategy is marked."""

_references: Kept[Tensor] = Kept()


class Fairness(QualitySuite):
    """Score of a strategy relative to full attention while its memory holds all measured attributes."""

    name = "fairness"
    version = "2"
    tiers = tuple(ROWS)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        about = "share of what a picture shows that is right, divided by that of full attention"
        return {
            "fairness": Metric("of full", "higher", about, 0, handicap=HANDICAPPED),
            "right": Metric("share", "higher", "attributes of a single picture that are right at the end", 0, 1),
            "right_full": Metric("share", "neither", "the same under full attention", 0, 1),
        }

    def remedy(self, backbone: Backbone) -> str | None:
        return None if backbone.world is not None else "needs a backbone whose world is known: pocket"

    def references(self) -> Sequence[Strategy]:
        return (registry.strategy("full"),)

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        world, chunk = backbone.world, backbone.chunk
        assert world is not None
        frames = backbone.trained_frames // chunk * chunk
        seeds = rollout_seeds(seed, ROWS[tier], FIRST_SEED)
        kept = tuple(Row(each, ((0, world.prompt({})),)) for each in seeds)
        changed = tuple(Row(each, tuple(evolve(world, each, 3 * chunk, 6 * chunk))) for each in seeds)
        return [
            Task("kept", frames, GIVEN, kept),
            Task("evolve", frames, GIVEN, changed, ("smooth", "smooth", "smooth")),
        ]

    def at_equal_budget(self, task: Task, tier: str) -> bool:
        # The mark "handicapped" concerns the published sizes of a method.
        return False

    def given(self, backbone: Backbone, task: Task) -> Tensor:
        return true_latents(backbone, task, task.given)

    def observer(self, backbone: Backbone, task: Task, place: Place) -> Ending:
        return Ending(backbone, task, self.given(backbone, task))

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        columns = (Column("kept", "fairness", "scene kept"), Column("evolve", "fairness", "scene changed"))
        note = (
            "Fairness is the score of a strategy divided by that of full attention where all that is asked is still in "
            f"its memory. Below {HANDICAPPED} a strategy is marked: what it loses there, it loses to this model."
        )
        return Display(tables=(Table("fairness of the model", columns),), notes=(note,), order=15)

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Each rollout's share, divided by the mean share of full attention over the same rollouts."""
        import pandas as pd

        keys = [name for name in samples.columns if name not in ("at_frame", "value", "metric", "unit", "better")]
        wide = samples.pivot_table(index=keys, columns="metric", values="value", observed=True).reset_index()
        batch = [name for name in keys if name not in ("prompt", "seed", "repeat")]
        whole = wide.groupby(batch, observed=True, sort=False)["right_full"].transform("mean")
        found = wide.assign(metric="fairness", value=wide["right"] / whole, at_frame=wide["horizon_latent_frames"])
        return pd.DataFrame(found.drop(columns=["right", "right_full"]).dropna(subset="value"))


class Ending:
    """Observer that reads what videos show at their end, under a strategy and under full attention."""

    def __init__(self, backbone: Backbone, task: Task, given: Tensor) -> None:
        assert backbone.world is not None
        assert backbone.codec is not None
        self.task, self.world, self.codec = task, backbone.world, backbone.codec
        self.full = _references.get(backbone.model, task, lambda: _drawn(backbone, task, given))
        self.last: list[Tensor] = []

    def see(self, latents: Tensor, start: int) -> None:
        if start + latents.shape[1] > self.task.frames - READ:
            self.last.append(latents.float().cpu())

    def samples(self) -> list[Sample]:
        shares = {
            "right": _right(self.world, self.task, self.codec.decode(torch.cat(self.last, 1))),
            "right_full": _right(self.world, self.task, self.codec.decode(self.full)),
        }
        return [
            Sample(row, metric, self.task.frames, None if math.isnan(value) else round(value, 6))
            for metric, values in shares.items()
            for row, value in enumerate(values.tolist())
        ]

    def pictures(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"last": list(self.last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.last = list(state["last"])


def _right(world: KnownWorld, task: Task, pictures: Tensor) -> Tensor:
    """Return the share of the attributes of a single picture that the last frames show correctly, [B].

    Attributes that the truth does not show do not count.
    """
    meant = truth_of(world, task, 1, task.frames - 1).values[:, 0, : len(world.seen)]
    counts = meant >= 0
    found = world.read_run(pictures[:, -READ:])[:, : len(world.seen)]
    return ((found == meant) & counts).sum(1) / counts.sum(1)


def _drawn(backbone: Backbone, task: Task, given: Tensor) -> Tensor:
    """Return the last latent frames that full attention draws in a task, [B, READ, C, H, W]."""
    chunks = rollout_of(backbone, registry.strategy("full"), task, given=given)
    return torch.cat([chunk.latents for chunk in chunks], 1)[:, -READ:].float().cpu()
