"""The pocket's world as suites use it: prompts, truth and probe behind the interface of `KnownWorld`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.backbone.world import UNSHOWN, Prompts, Reading, Truth
from harness.memory import Boundary
from harness.pocket.language import ATTRIBUTES, COLOURED, COLOURS, CURTAIN, Saying, parse
from harness.pocket.probe import SEEN, Probe
from harness.pocket.readout import judge
from harness.pocket.scenes import Scene, check
from harness.pocket.world import FADE, HEADINGS, NAMES, SPEEDS, SWING, film, look, paint

CHANGES = 3
"""Number of attributes that change at once."""
TOLERANCE = 1.0
"""Largest error of a step's length in pixels; slow objects move two pixels a frame."""
MOTION, SPEED = NAMES.index("motion"), NAMES.index("speed")


class PocketWorld:
    """Moving objects before patterned grounds, described by eight attributes.

    Parameters
    ----------
    probe
        Returns the network that reads the attributes off pictures; called when something is read.
    """

    attributes: Mapping[str, Sequence[str]] = ATTRIBUTES
    seen: Sequence[str] = SEEN
    fade = FADE
    cycle = len(SWING)
    curtain: str | None = f"a {CURTAIN}"

    def __init__(self, probe: Callable[[], Probe]) -> None:
        self.probe = probe

    def draw(self, seed: int, scene: int = 0) -> Mapping[str, str]:
        return look(seed, scene)

    def changed(
        self, look: Mapping[str, str], seed: int, turn: int, names: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        """Return new values of some attributes, three unless they are named; new colours are not in use in `look`."""
        rng = np.random.Generator(np.random.Philox(key=[seed, 1000 + turn]))
        free = list(rng.permutation([colour for colour in COLOURS if colour not in look.values()]))
        new = {}
        for name in rng.choice(SEEN, CHANGES, replace=False) if names is None else names:
            others = [value for value in ATTRIBUTES[name] if value != look[name]]
            new[str(name)] = str(free.pop()) if name in COLOURED else str(rng.choice(others))
        return {name: new[name] for name in ATTRIBUTES if name in new}

    def prompt(self, said: Mapping[str, str], boundary: Boundary | None = None, number: int | None = None) -> str:
        return Saying(dict(said), boundary or "first", number=number).sentence()

    def check(self, prompts: Prompts) -> None:
        check(_scenes(prompts))

    def said(self, prompt: str) -> Mapping[str, str]:
        return parse(prompt).said

    def film(self, scripts: Sequence[Prompts], seeds: Sequence[int], frames: int, start: int = 0) -> Truth:
        clip = film([_scenes(prompts) for prompts in scripts], seeds, frames, start)
        values = clip.looks.clone()
        values[..., SPEED] = values[..., SPEED].masked_fill(values[..., MOTION] == 0, UNSHOWN)
        return Truth(clip.pixels, values, clip.cover == 0)

    def read(self, pictures: Tensor) -> Reading:
        return self.probe().read(pictures)

    def read_run(self, pictures: Tensor) -> Tensor:
        return judge(self.probe(), pictures).whole

    def moves(self, values: Tensor) -> Tensor:
        return values[..., MOTION] > 0

    def steps(self, reading: Reading, values: Tensor) -> Tensor:
        motion, speed = values[:, MOTION], values[:, SPEED]
        heading = torch.tensor(HEADINGS)[motion.clamp(min=0)]
        length = torch.tensor(SPEEDS)[speed.clamp(min=0)][:, None] * heading
        off = (reading.places.diff(dim=1).abs() - length[:, None]).abs().amax(-1)
        known = (motion == 0) | ((motion > 0) & (speed >= 0))
        present = reading.present[:, 1:] & reading.present[:, :-1]
        return (off <= TOLERANCE) & present & known[:, None]

    def paint(self, values: Tensor, places: Tensor) -> Tensor:
        return paint(values, places)


def _scenes(prompts: Prompts) -> tuple[Scene, ...]:
    return tuple(Scene(start, parse(text)) for start, text in prompts)
