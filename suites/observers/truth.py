"""What the videos of a task should show, in a world whose truth is known."""

from __future__ import annotations

from harness.backbone.world import KnownWorld, Truth
from harness.suite import Task


def truth_of(world: KnownWorld, task: Task, frames: int, start: int = 0) -> Truth:
    """Return what the videos of a task should show.

    Parameters
    ----------
    world
        In which the task takes place.
    task
        B rollouts.
    frames
        Latent frames to render.
    start
        The first latent frame to render.

    Returns
    -------
    Truth
        One video for every row of the task.
    """
    return world.film([row.script for row in task.rows], [row.seed for row in task.rows], frames, start)
