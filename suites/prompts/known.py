"""Prompts of scenarios in a world whose truth is known.

Each function returns the prompts of one rollout, with the latent frames at which they begin. The first scene is always
given by true frames and never described, so that what it shows is known and only a memory can keep it.
"""

from __future__ import annotations

import numpy as np

from harness.backbone.world import KnownWorld, Prompts

CHANGE, SILENCE = 21, 42
"""Latent frames (5 s, 10 s) at which a scene changes, and from which its prompt says nothing any more."""
EVERY = 21
"""Latent frames between the changes of a scene that changes again and again."""
AWAY, PERIOD = 15, 24
"""Latent frames that a curtain is down, and from one curtain to the next: no usual window reaches across."""


def evolve(world: KnownWorld, seed: int, change: int = CHANGE, silence: int = SILENCE) -> Prompts:
    """Return a scene of which a few attributes change once; later its prompt says nothing."""
    new = world.changed(world.draw(seed), seed, 1)
    return (0, world.prompt({})), (change, world.prompt(new, "smooth")), (silence, world.prompt({}, "smooth"))


def accumulate(world: KnownWorld, seed: int) -> Prompts:
    """Return a scene of which every attribute that a picture shows changes, one after the other; then silence."""
    look = dict(world.draw(seed))
    order = np.random.Generator(np.random.Philox(key=[seed, 2000])).permutation(list(world.seen))
    prompts = [(0, world.prompt({}))]
    for turn, name in enumerate(order, 1):
        new = world.changed(look, seed, turn, (str(name),))
        look |= new
        prompts.append((turn * EVERY, world.prompt(new, "smooth")))
    return *prompts, (EVERY * (len(order) + 1), world.prompt({}, "smooth"))


def occlusion(world: KnownWorld) -> Prompts:
    """Return a scene that a curtain hides for longer than any window, once."""
    assert world.curtain is not None
    return (0, world.prompt({})), (18, world.curtain), (51, world.prompt({}, "recall"))


def intermittent(world: KnownWorld, frames: int) -> Prompts:
    """Return a scene that is seen for a few frames at a time, between curtains."""
    assert world.curtain is not None
    prompts = [(0, world.prompt({}))]
    for start in range(PERIOD - AWAY, frames - AWAY, PERIOD):
        prompts += [(start, world.curtain), (start + AWAY, world.prompt({}, "recall"))]
    return tuple(prompts)


def half(world: KnownWorld, seed: int, scene: int = 0) -> dict[str, str]:
    """Return every second attribute of a scene that the seed draws.

    Parameters
    ----------
    world
        World whose attributes are used.
    seed
        Seed of the rollout; even seeds take the first, third, ... attribute, odd seeds the others.
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
        World whose attributes and language are used.
    seed
        Seed of the rollout.
    motion
        Whether all attributes that a single picture does not show are stated besides.
    """
    hidden = {name: value for name, value in world.draw(seed).items() if motion and name not in world.seen}
    return world.prompt(half(world, seed) | hidden)
