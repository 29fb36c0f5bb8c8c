"""The stages of VideoMLA's training in their order, and the file that each of them writes."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.backbone.checkpoints import load_checkpoint
from harness.backbone.presets import Backbone
from harness.errors import KnobError
from harness.training import loop, weights
from harness.training.loop import Trains
from harness.training.recipe import Request
from strategies.videomla.attention import LatentAttention
from strategies.videomla.initial import fill
from strategies.videomla.strategy import WEIGHTS, VideoMLA
from strategies.videomla.training import Matching, Regression, stages

ORDER = ("regression", "matching")
FILE = "videomla.safetensors"


def open_stage(stage: str, request: Request) -> Regression | Matching:
    """Return the trainer of a stage, resumed from its checkpoint or new: from an SVD, or from the previous stage."""
    strategy, dense = _strategy_and_backbone(request)
    sizes = strategy.sizes(dense)
    with torch.device(dense.model.device):
        layers = [LatentAttention(dense.model.config, sizes, "explicit") for _ in dense.model.layers]
    asked = dense, layers, stages(dense)[stage], request.folder / stage, request.seed
    if stage == "regression":
        fill(layers, dense, "activation_svd")
        trainer: Regression | Matching = Regression(*asked)
    else:
        before = weights.read(request.folder / ORDER[0] / FILE, strategy.purpose(dense))
        load_checkpoint(torch.nn.ModuleList(layers), before.path)
        trainer = Matching(*asked)
    loop.resume(trainer)
    return trainer


def finish_stage(stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
    """Write a finished stage's weights; with `install`, also to the folder from which the package reads them."""
    assert isinstance(trainer, Regression | Matching)
    strategy, dense = _strategy_and_backbone(request)
    return weights.write_trained(trainer, trainer.folder / FILE, strategy.purpose(dense), WEIGHTS if install else None)


def _strategy_and_backbone(request: Request) -> tuple[VideoMLA, Backbone]:
    strategy = request.strategy(VideoMLA)
    if strategy.parameters != "trained":
        raise KnobError(f"videomla: parameters={strategy.parameters} cannot be trained; leave the knob parameters out")
    return strategy, request.built()
