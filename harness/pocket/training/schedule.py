"""The stages of the pocket's own training."""

from __future__ import annotations

from dataclasses import replace

from harness.training.schedule import Exercise, Phase, Stage

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
