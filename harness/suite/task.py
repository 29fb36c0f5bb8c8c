"""What a suite asks for and what comes of it: tasks, their rollouts, and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.limits import SEEDS_APART
from harness.memory import Boundary

HORIZONS = (21, 120, 240, 960, 1920, 14_400, 345_600)
"""Latent frames of 5 s, 30 s, 60 s, 4 min, 8 min, 1 h and 24 h, at four latent frames a second."""


@dataclass(frozen=True)
class Row:
    """One rollout of a task.

    Parameters
    ----------
    seed
        Of its noise.
    script
        Its prompts, with the latent frames at which they begin.
    vbench
        The prompt of VBench that its prompt is an extension of, by whose words VBench scores the film; "" for none.
    """

    seed: int
    script: tuple[tuple[int, str], ...]
    vbench: str = ""

    @property
    def prompt(self) -> str:
        """The whole script as one text, which names it in tables."""
        return " | ".join(f"{start}: {text}" if start else text for start, text in self.script)


@dataclass(frozen=True)
class Task:
    """Rollouts that go in one batch.

    Parameters
    ----------
    scenario
        What happens in them.
    frames
        Latent frames in all.
    given
        Latent frames of the truth that are shown first (continuation).
    rows
        The rollouts; scenes begin at the same frames in all of them.
    boundaries
        How each scene of the scripts is entered, the first one included.
    forced
        Whether every chunk is drawn after the suite's own latents instead of after what was drawn (teacher forcing).
    """

    scenario: str
    frames: int
    given: int
    rows: tuple[Row, ...]
    boundaries: tuple[Boundary, ...] = ("smooth",)
    forced: bool = False


def rollout_seeds(seed: int, count: int, first: int = 0) -> range:
    """Return the seeds of a suite's rollouts.

    Parameters
    ----------
    seed
        Of the campaign.
    count
        How many rollouts there are.
    first
        Seed of the suite's first rollout under seed 0 of a campaign; another one for every suite keeps its scenes apart
        from those of others.
    """
    start = first + SEEDS_APART * seed
    return range(start, start + count)


class Sample(NamedTuple):
    """One number.

    Parameters
    ----------
    row
        Of which rollout: a row of the task.
    metric
        What it is called.
    at_frame
        After how many latent frames.
    value
        None where the metric does not apply, or a guard voids it.
    """

    row: int
    metric: str
    at_frame: int
    value: float | None
