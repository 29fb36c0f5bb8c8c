"""What the videos of a task should show, in a world whose truth is known."""

from __future__ import annotations

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.world import KnownWorld, Truth
from harness.suite import Task


def truth_of(world: KnownWorld, task: Task, frames: int, start: int = 0) -> Truth:
    """Return what the videos of a task should show.

    Parameters
    ----------
    world
        World in which the task takes place.
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


def true_latents(backbone: Backbone, task: Task, frames: int) -> Tensor:
    """Return the first latents of what the videos of a task should show, [B, frames, C, H, W].

    Parameters
    ----------
    backbone
        Backbone with a known world and a codec.
    task
        B rollouts.
    frames
        Latent frames from the beginning on.
    """
    assert backbone.world is not None
    assert backbone.codec is not None
    return backbone.codec.encode(truth_of(backbone.world, task, frames).pixels)
