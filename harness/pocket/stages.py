"""The stages of the pocket's training: what is exercised, for how long, at what rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from harness.pocket.lessons import Turns


@dataclass(frozen=True)
class Exercise:
    """Clips of a step, and how often this exercise is drawn in its phase.

    window: in chunks, 0 for all. turns: which clips switch their prompt (`lessons.Turns`). rehearse: the context is
    the model's own rollout instead of the truth.
    """

    frames: int
    clips: int
    weight: float = 1.0
    window: int = 0
    turns: Turns = "some"
    rehearse: bool = False


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


FIRST = Exercise(frames=3, clips=96)
TURNS = Exercise(frames=12, clips=16, turns="all")
STAGES = {
    "foundation": Stage(
        "foundation",
        (
            Phase(2000, (FIRST,)),
            Phase(2500, (Exercise(12, 16), TURNS, FIRST)),
            Phase(
                6000,
                (
                    Exercise(36, 6, 0.4),
                    Exercise(36, 6, 0.15, window=4),
                    replace(TURNS, weight=0.25, window=4),
                    replace(FIRST, weight=0.2),
                ),
            ),
        ),
        rate=1e-2,
        rest_rate=4e-3,
        decay_from=0.4,
    ),
    "rehearsal": Stage(
        "rehearsal",
        (
            Phase(
                5000,
                (
                    Exercise(6, 32, 0.35, turns="smooth"),
                    Exercise(12, 16, 0.25, window=4, turns="smooth"),
                    Exercise(36, 6, 0.15),
                    Exercise(36, 6, 0.1, rehearse=True),
                    replace(FIRST, weight=0.15),
                ),
            ),
        ),
        rate=6e-3,
        rest_rate=2.4e-3,
        decay_from=0.2,
        first_lesson=1_000_000,
    ),
}
