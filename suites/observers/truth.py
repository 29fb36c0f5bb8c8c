"""What the tasks of suites ask of a world whose truth is known: prompts, and what their videos should show."""

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


def true_latents(backbone: Backbone, task: Task, frames: int) -> Tensor:
    """Return the first latents of what the videos of a task should show, [B, frames, C, H, W].

    Parameters
    ----------
    backbone
        With a known world and a codec.
    task
        B rollouts.
    frames
        Latent frames from the beginning on.
    """
    assert backbone.world is not None
    assert backbone.codec is not None
    return backbone.codec.encode(truth_of(backbone.world, task, frames).pixels)


def half(world: KnownWorld, seed: int, scene: int = 0) -> dict[str, str]:
    """Return every second attribute of a scene that the seed draws.

    Parameters
    ----------
    world
        Whose attributes are used.
    seed
        Of the rollout; the first, third, ... attribute for even seeds, the others for odd ones.
    scene
        The place of the scene in its script, from 0.
    """
    drawn = world.draw(seed, scene)
    return {name: drawn[name] for number, name in enumerate(world.attributes) if (number + seed) % 2 == 0}


def half_said(world: KnownWorld, seed: int, motion: bool = False) -> str:
    """Return a prompt of the first scene that states `half` of its attributes.

    Parameters
    ----------
    world
        Whose attributes and language are used.
    seed
        Of the rollout.
    motion
        Whether all attributes that a single picture does not show are stated besides.
    """
    hidden = {name: value for name, value in world.draw(seed).items() if motion and name not in world.seen}
    return world.prompt(half(world, seed) | hidden)
