"""Which state of a changing scene pictures show: the latest one, or an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.backbone.world import KnownWorld
from harness.suite import Task
from suites.observers.truth import truth_of


class States:
    """The states through which the scenes of a task take an object.

    Parameters
    ----------
    world
        World in which the task takes place.
    task
        B rollouts; their scenes begin at the same latent frames.
    """

    def __init__(self, world: KnownWorld, task: Task) -> None:
        self.starts = [start for start, _ in task.rows[0].script]
        seen = len(world.seen)
        self.values = torch.stack([truth_of(world, task, 1, start).values[:, 0, :seen] for start in self.starts])
        self.change = bool((self.values != self.values[:1]).any())

    def shares(self, values: Tensor, counts: Tensor, stop: int) -> dict[str, Tensor]:
        """Return which shares of the attributes show which state.

        Parameters
        ----------
        values
            What is read off pictures, int64 [B, T, seen].
        counts
            Which pictures count, bool [B, T].
        stop
            The latent frame behind the last picture.

        Returns
        -------
        dict
            For each metric, float [B]; NaN where no attribute is of its kind. Empty if the scenes do not change.
        """
        if not self.change:
            return {}
        now = sum(start < stop for start in self.starts) - 1
        latest, older = self.values[now][:, None], self.values[:now]
        changed = (older != latest[:, 0]).any(0)[:, None]
        # Frames before the latest change are right to show what was there.
        counts = counts & (torch.arange(stop - values.shape[1], stop) >= self.starts[now])
        reverted = (values == older[:, :, None]).any(0) & (values != latest)
        shown = counts[..., None]
        return {
            "latest": share(values == latest, shown & changed, (1, 2)),
            "reverted": share(reverted, shown & changed, (1, 2)),
            "latest_chance": share(values == latest.roll(1, 0), shown & changed, (1, 2)),
            "unchanged": share(values == latest, shown & ~changed, (1, 2)),
        }


def share(values: Tensor, counts: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the mean over what counts; NaN where nothing does."""
    counts = counts.expand(values.shape)
    return torch.where(counts, values, 0).sum(dim) / counts.sum(dim)
