"""The stages of the pocket's training in their order, and the files that each of them writes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from harness.backbone.presets import Backbone, build, check_device
from harness.backbone.wan import CausalWan
from harness.errors import HorizonError
from harness.pocket import preset
from harness.pocket.codec import PatchCodec
from harness.pocket.preset import CHUNK, LATENT_SIZE
from harness.pocket.probe import Probe
from harness.pocket.training.clips import HELD_OUT, clips
from harness.pocket.training.memories import draw_strategy
from harness.pocket.training.probe_training import ProbeTrainer
from harness.pocket.training.schedule import STAGES
from harness.pocket.world import film, script
from harness.training import loop
from harness.training.loop import Trains
from harness.training.recipe import Request
from harness.training.schedule import Stage
from harness.training.trainer import FlowLearner

ORDER = (*STAGES, "probe")
BEFORE = dict(zip(list(STAGES)[1:], STAGES, strict=False))
"""For each stage, the previous stage, with whose weights it begins."""
PICTURES = 4096
"""Number of pictures to which the codec is fitted."""


def open_stage(stage: str, request: Request) -> Trainer | ProbeTrainer:
    """Return the trainer of a stage, resumed from its checkpoint or new. Raises HorizonError for another backbone."""
    if request.what != "pocket" or request.backbone not in (None, "pocket"):
        raise HorizonError(
            f"the pocket's training has no knobs and no other backbone, so {request.what} for "
            f"{request.backbone or 'pocket'} cannot be trained; write: horizon train pocket"
        )
    check_device(request.device)
    folder, seed = request.folder, request.seed
    codec = fitted_codec(folder)
    if stage == "probe":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            trainer: Trainer | ProbeTrainer = ProbeTrainer(Probe().to(request.device), codec, folder / stage, seed=seed)
    else:
        model = build(preset.CONFIG, seed=seed, device=request.device)
        if stage in BEFORE:
            preset.restore(model, folder / BEFORE[stage] / "model.safetensors")
        trainer = Trainer(model, codec, STAGES[stage], folder / stage, seed=seed)
    loop.resume(trainer)
    return trainer


def fitted_codec(folder: Path) -> PatchCodec:
    """Return the codec of a training folder, fitted at the first call."""
    path, codec = folder / "codec.safetensors", PatchCodec()
    if not path.exists():
        seeds = range(HELD_OUT + 2**60, HELD_OUT + 2**60 + PICTURES)
        preset.keep(codec.fit(film([script("a thing")] * PICTURES, seeds, 1).pixels), path)
    preset.restore(codec, path)
    return codec


def finish_stage(stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
    """Write a finished stage's weights; with `install`, also to the folder from which the package reads them."""
    module: nn.Module
    assert isinstance(trainer, Trainer | ProbeTrainer)
    if isinstance(trainer, ProbeTrainer):
        module, name, dtype = trainer.probe, "probe.safetensors", "float32"
    else:
        trainer.finish()
        module, name, dtype = trainer.model, "model.safetensors", "float16"
    path = trainer.folder / name
    metadata = {"stage": stage, "steps": str(trainer.steps), "seed": str(trainer.seed)}
    places = [path, *([preset.WEIGHTS / name] if install else [])]
    for place in places:
        preset.keep(module, place, dtype, **metadata)
    if install:
        preset.keep(trainer.codec, preset.WEIGHTS / "codec.safetensors")
    return path


class Trainer(FlowLearner):
    """Trainer of the whole model, from clips of the pocket's world."""

    def __init__(
        self, model: CausalWan, codec: PatchCodec, stage: Stage, folder: Path, *, seed: int = 0, compile: bool = True
    ) -> None:
        matrices = [x for name, x in model.named_parameters() if name.startswith("blocks.") and x.ndim == 2]
        backbone = Backbone(name="pocket", model=model, chunk=CHUNK, latent_size=LATENT_SIZE)
        source = partial(clips, codec, CHUNK)
        super().__init__(
            backbone, source, model, matrices, stage, folder, seed=seed, compile=compile, memories=draw_strategy
        )
        self.model, self.codec = model, codec
