"""The stages of the pocket's own training."""

from __future__ import annotations

from dataclasses import replace

from harness.training.schedule import Exercise, Phase, Stage

FIRST = Exercise(frames=3, clips=96)
TURNS = Exercise(frames=12, clips=16, turns="all")
STAGES = {
    "drawing": Stage("drawing", (Phase(1200, (FIRST,)),), rate=1e-2, rest_rate=4e-3, decay_from=0.5),
}
