"""The stages of Echo-Infinity's training in their order, and the file that each of them writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.backbone.presets import Backbone
from harness.errors import KnobError
from harness.training import loop, weights
from harness.training.loop import Trains
from harness.training.recipe import Request
from strategies.echo_infinity.rollout_training import Streaming
from strategies.echo_infinity.strategy import WEIGHTS, EchoInfinity
from strategies.echo_infinity.training import Remembering, stages

ORDER = ("short", "streaming")
FILE = "echo_infinity.safetensors"


def open_stage(stage: str, request: Request) -> Remembering | Streaming:
    """Return the trainer of a stage, resumed from its checkpoint or new: untrained, or from the previous stage."""
    knobs, backbone = _strategy_and_backbone(request)
    before = "untrained" if stage == ORDER[0] else str(request.folder / ORDER[0] / FILE)
    knobs = replace(knobs, parameters=before)
    learner = Streaming if stage == "streaming" else Remembering
    trainer = learner(backbone, knobs, stages(backbone)[stage], request.folder / stage, request.seed)
    loop.resume(trainer)
    return trainer


def finish_stage(stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
    """Write a finished stage's weights; with `install`, also to the folder from which the package reads them."""
    assert isinstance(trainer, Remembering | Streaming)
    knobs, backbone = _strategy_and_backbone(request)
    return weights.write_trained(trainer, trainer.folder / FILE, knobs.purpose(backbone), WEIGHTS if install else None)


def _strategy_and_backbone(request: Request) -> tuple[EchoInfinity, Backbone]:
    knobs = request.strategy(EchoInfinity)
    if knobs.parameters != "trained" or not knobs.memory or knobs.update == "never":
        raise KnobError(f"{request.what}: has no memory to train; leave the knobs parameters, memory and update out")
    return knobs, request.built()
