"""What the tasks of suites ask of a world whose truth is known: prompts, and what their videos should show."""

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


def half_said(world: KnownWorld, seed: int, motion: bool = False) -> str:
    """Return a prompt that states every second attribute of what the seed draws.

    Parameters
    ----------
    world
        Whose attributes and language are used.
    seed
        Of the rollout; even seeds state the first, third, ... attribute, odd ones the others.
    motion
        Whether all attributes that a single picture does not show are stated besides.

    Returns
    -------
    str
        A prompt of the first scene.
    """
    drawn = world.draw(seed)
    said = {
        name: drawn[name]
        for number, name in enumerate(world.attributes)
        if (number + seed) % 2 == 0 or (motion and name not in world.seen)
    }
    return world.prompt(said)
