"""The stages of the pocket's own training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.training.schedule import Exercise, Phase, Stage

FIRST = Exercise(frames=3, clips=96)
BRIEF = Exercise(12, 16, turns="evolve", arranged=9)
LONG = Exercise(36, 5, turns="evolve")
SEEN = replace(LONG, arranged=18)
CHANGE = 4.0
"""Weight in the loss of chunks in which a scene begins to change, in the stage `settling`.

Without it, a third of the way through the stage, 13 % of the shapes, textures and accents that a smooth change did not
mention came out wrong in this very chunk, and stayed so.
"""
DETAILED: dict[str, Any] = {"change": 4.0, "silence": 4.0, "detail": 3.0}
"""Weights in the stage `details`.

After `settling` what was wrong were discs drawn as squares and colours drawn as their neighbours (orange and yellow),
some of them from the chunk on in which the prompt fell silent: small differences of a picture, hence of the loss.
"""
STAGES = {
    "drawing": Stage("drawing", (Phase(800, (FIRST,)),), rate=1e-2, rest_rate=4e-3, decay_from=0.5),
    "foundation": Stage(
        "foundation",
        (
            Phase(
                1000,
                (replace(BRIEF, weight=0.5), replace(BRIEF, turns="all", weight=0.4), replace(FIRST, weight=0.1)),
            ),
            Phase(
                6000,
                (
                    replace(BRIEF, weight=0.25),
                    replace(BRIEF, turns="all", weight=0.1),
                    replace(LONG, weight=0.2),
                    replace(SEEN, weight=0.3),
                    replace(SEEN, turns="some", rehearse=True, weight=0.06),
                    replace(FIRST, clips=64, weight=0.09),
                ),
            ),
        ),
        rate=1e-2,
        rest_rate=4e-3,
        decay_from=0.5,
        first_lesson=100_000,
    ),
    "memories": Stage(
        "memories",
        (
            Phase(
                3000,
                (
                    Exercise(36, 4, 0.5, turns="together", remembered=True),
                    replace(BRIEF, weight=0.1),
                    replace(BRIEF, turns="all", weight=0.1),
                    replace(LONG, weight=0.1),
                    replace(SEEN, weight=0.12),
                    replace(FIRST, clips=64, weight=0.08),
                ),
            ),
        ),
        rate=5e-3,
        rest_rate=2e-3,
        decay_from=0.3,
        first_lesson=1_000_000,
    ),
    "settling": Stage(
        "settling",
        (
            Phase(
                3000,
                (
                    replace(LONG, weight=0.38, change=CHANGE),
                    replace(SEEN, weight=0.15, change=CHANGE),
                    Exercise(36, 4, 0.2, turns="together", remembered=True, change=CHANGE),
                    Exercise(36, 5, 0.12, turns="smooth", change=CHANGE),
                    replace(BRIEF, weight=0.05),
                    replace(FIRST, clips=64, weight=0.1),
                ),
            ),
        ),
        rate=5e-3,
        rest_rate=2e-3,
        decay_from=0.3,
        first_lesson=2_000_000,
    ),
    "details": Stage(
        "details",
        (
            Phase(
                3000,
                (
                    replace(LONG, weight=0.43, **DETAILED),
                    replace(SEEN, weight=0.15, **DETAILED),
                    Exercise(36, 4, 0.2, turns="together", remembered=True, **DETAILED),
                    Exercise(36, 5, 0.12, turns="smooth", **DETAILED),
                    replace(BRIEF, weight=0.05),
                    replace(FIRST, clips=64, weight=0.05),
                ),
            ),
        ),
        rate=5e-3,
        rest_rate=2e-3,
        decay_from=0.3,
        first_lesson=2_500_000,
    ),
    "narrow": Stage(
        "narrow",
        (
            Phase(
                3000,
                (
                    replace(LONG, weight=0.25, **DETAILED),
                    replace(SEEN, weight=0.3, narrow=0.75, **DETAILED),
                    Exercise(36, 4, 0.2, turns="together", remembered=True, **DETAILED),
                    Exercise(36, 5, 0.12, turns="smooth", **DETAILED),
                    replace(BRIEF, weight=0.08, narrow=0.5),
                    replace(FIRST, clips=64, weight=0.05),
                ),
            ),
        ),
        rate=5e-3,
        rest_rate=2e-3,
        decay_from=0.3,
        first_lesson=3_000_000,
    ),
}
"""Openings are drawn first, which takes no context; then all else at once: clips that evolve, seen through contexts as
memories lay them out; then clips that the model rolls out behind real memories; then clips that evolve once more, most
of them with everything in sight, and with larger weights where a scene changes; at last the same with a quarter
behind contexts of a few frames, half of these split among groups of heads."""
