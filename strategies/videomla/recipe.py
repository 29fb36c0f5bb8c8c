"""The stages of VideoMLA's training in their order, and the file that each of them writes."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.backbone.checkpoints import load_checkpoint
from harness.backbone.presets import Backbone
from harness.errors import KnobError
from harness.training import loop as study
from harness.training import weights
from harness.training.loop import Trains
from harness.training.recipe import Request
from strategies.videomla.attention import LatentAttention
from strategies.videomla.initial import fill
from strategies.videomla.strategy import WEIGHTS, VideoMLA
from strategies.videomla.training import Matching, Regression, stages

ORDER = ("regression", "matching")
FILE = "videomla.safetensors"


def enrol(stage: str, request: Request) -> Regression | Matching:
    """Return the trainer of a stage, resumed from its checkpoint or new: from an SVD, or from the previous stage."""
    asked, dense = _asked(request)
    sizes = asked.sizes(dense)
    with torch.device(dense.model.device):
        layers = [LatentAttention(dense.model.config, sizes, "explicit") for _ in dense.model.layers]
    kind = Regression if stage == "regression" else Matching
    if stage == "regression":
        fill(layers, dense, "activation_svd")
    else:
        before = weights.read(request.folder / "regression" / FILE, asked.purpose(dense))
        load_checkpoint(torch.nn.ModuleList(layers), before.path)
    trainer = kind(dense, layers, stages(dense)[stage], request.folder / stage, request.seed)
    study.resume(trainer)
    return trainer


def graduate(stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
    """Write a finished stage's weights; with `install`, also to the folder from which the package reads them."""
    assert isinstance(trainer, Regression | Matching)
    asked, dense = _asked(request)
    return weights.graduate(trainer, trainer.folder / FILE, asked.purpose(dense), WEIGHTS if install else None)


def _asked(request: Request) -> tuple[VideoMLA, Backbone]:
    asked = request.strategy(VideoMLA)
    if asked.parameters != "trained":
        raise KnobError(f"videomla: parameters={asked.parameters} cannot be trained; leave the knob parameters out")
    return asked, request.built()
