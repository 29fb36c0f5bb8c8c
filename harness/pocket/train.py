"""Training of the pocket's model, a stage at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.backbone.presets import Backbone
from harness.backbone.wan import CausalWan
from harness.pocket.codec import PatchCodec
from harness.pocket.lessons import clips
from harness.pocket.memories import draw_strategy
from harness.pocket.preset import CHUNK, LATENT_SIZE
from harness.training.learner import FlowLearner
from harness.training.stages import Stage


class Trainer(FlowLearner):
    """The whole model learns, from clips of the world."""

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
