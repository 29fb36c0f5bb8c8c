"""Stages of a training: what is exercised, for how long, at what rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Turns = Literal["some", "all", "smooth", "return", "evolve", "together"]
"""Which clips switch their prompt: a quarter, once, half of those smoothly, half hard, and another sixth goes away and
comes back; all, once, in the same parts; all, smoothly, once or twice; all go away for at least three chunks and come
back; all change one to three times, with silence, words said again, curtains and returns to any earlier scene; the
same, with switches of one kind at one time in all clips of a step."""


@dataclass(frozen=True)
class Exercise:
    """Clips of a step, and how often this exercise is drawn in its phase.

    window: in chunks, 0 for all. turns: which clips switch their prompt, where they can. rehearse: the context is the
    model's own rollout instead of the truth. arranged: what is seen of the context is drawn, in so many slots; 0 shows
    it as it is. remembered: what is seen is what a strategy's memory shows, drawn anew every step. change, silence:
    weights in the loss of chunks in which a scene begins to change smoothly, and in which its prompt falls silent.
    detail: factor on the weight of a picture's small parts. narrow: share of the arranged contexts that hold a few
    frames only, or show them to some heads only.
    """

    frames: int
    clips: int
    weight: float = 1.0
    window: int = 0
    turns: Turns = "some"
    rehearse: bool = False
    arranged: int = 0
    remembered: bool = False
    change: float = 1.0
    silence: float = 1.0
    detail: float = 1.0
    narrow: float = 0.0


@dataclass(frozen=True)
class Phase:
    """So many steps of the same mixture."""

    steps: int
    exercises: tuple[Exercise, ...]


@dataclass(frozen=True)
class Stage:
    """One run of training.

    rate: learning rate of the matrices inside the blocks (Muon); the rest takes `rest_rate` (AdamW).
    decay_from: share of the steps after which the rates fall linearly to a fiftieth.
    """

    name: str
    phases: tuple[Phase, ...]
    rate: float
    rest_rate: float
    decay_from: float
    warm_up: int = 50
    first_lesson: int = 0

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def exercise(self, step: int, generator: torch.Generator) -> Exercise:
        for phase in self.phases:
            if step < phase.steps:
                weights = torch.tensor([each.weight for each in phase.exercises])
                return phase.exercises[int(torch.multinomial(weights, 1, generator=generator))]
            step -= phase.steps
        raise AssertionError("a step beyond the stage")

    def pace(self, step: int) -> float:
        """Factor of the learning rates."""
        left = (self.steps - step) / (self.steps * (1 - self.decay_from))
        return min((step + 1) / self.warm_up, 1.0, max(left, 0.02))
