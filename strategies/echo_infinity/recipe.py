"""The stages of Echo-Infinity's training in their order, and what each leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import registry
from harness.backbone.presets import Backbone
from harness.errors import KnobError
from harness.training import loop as study
from harness.training import weights
from harness.training.loop import Trains
from harness.training.recipe import Request
from strategies.echo_infinity.rollout_training import Streaming
from strategies.echo_infinity.strategy import WEIGHTS, EchoInfinity
from strategies.echo_infinity.training import Remembering, stages

ORDER = ("short", "streaming")
FILE = "echo_infinity.safetensors"


def enrol(stage: str, request: Request) -> Remembering | Streaming:
    """A stage ready to go on from its checkpoint, or to begin: untrained, or from the weights of the stage before."""
    knobs, backbone = _asked(request)
    before = "untrained" if stage == ORDER[0] else str(request.folder / ORDER[0] / FILE)
    knobs = replace(knobs, parameters=before)
    learner = Streaming if stage == "streaming" else Remembering
    trainer = learner(backbone, knobs, stages(backbone)[stage], request.folder / stage, request.seed)
    study.resume(trainer)
    return trainer


def graduate(stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
    """Write a finished stage's weights; with `install` also where the package reads them."""
    assert isinstance(trainer, Remembering | Streaming)
    knobs, backbone = _asked(request)
    return weights.graduate(trainer, trainer.folder / FILE, knobs.purpose(backbone), WEIGHTS if install else None)


def _asked(request: Request) -> tuple[EchoInfinity, Backbone]:
    _, knobs = registry.parse_strategy(request.what)
    assert isinstance(knobs, EchoInfinity)
    if knobs.parameters != "trained" or not knobs.memory or knobs.update == "never":
        raise KnobError(f"{request.what}: there is no memory in it to train; leave parameters, memory and update out")
    return knobs, registry.open_backbone(request.backbone_request())
