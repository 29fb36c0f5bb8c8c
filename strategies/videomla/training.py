"""Training of latent attention in a frozen backbone: first to match the dense layers, then the dense model's output.

Source: VideoMLA, arXiv:2605.30351, section 3.4, trains all weights of a 1.3B model by flow matching, consistency
distillation and DMD on 8 B200. Here the dense backbone is the teacher, and only the latent attention is trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import registry
from harness.backbone.layout import LaidOut, room
from harness.backbone.presets import Backbone
from harness.backbone.rope import Rope
from harness.memory import Strategy
from harness.training.contexts.arranged import Draw
from harness.training.contexts.remembered import numpy_generator
from harness.training.precision import half_precision
from harness.training.rollout_clips import clips_of
from harness.training.schedule import Exercise, Phase, Stage
from harness.training.teacher_forcing import Forced, Teacher
from harness.training.trainer import FlowLearner, forced_flow
from strategies.videomla.attention import LatentAttention
from strategies.videomla.calibration import observing_attention

TOKENS = 3072
"""Tokens of the clips of one step."""
WINDOW = 4
"""Chunks of context in half of the exercises; the others see all previous chunks."""
WIDEST = 18
"""Frames of the widest window that is drawn; the published policy has 7."""
DATA = 0.2
"""Share of the clips' own flow in the target, where a backbone's clips are known; the rest is the teacher's flow."""


def draw_window(generator: torch.Generator) -> Strategy:
    """Return a random window behind a sink; the latents are held by the layers whatever the policy."""
    rng = numpy_generator(generator)
    window = int(rng.integers(5, WIDEST + 1))
    return registry.strategy(
        "attention_sink",
        window=window,
        sink=int(rng.integers(0, min(3, window - 4) + 1)),
        positions=str(rng.choice(["relative", "absolute"])),
    )


def stages(backbone: Backbone) -> dict[str, Stage]:
    """Return the stages for a backbone, by name and in order.

    Where the backbone's clips are known, a third of the last phase are rollouts behind short windows, as VideoMLA is
    used: a layer that only saw whole pasts makes small objects out of four frames badly.
    """
    chunk, tokens = backbone.chunk, math.prod(backbone.model.config.grid(backbone.latent_size))
    long = backbone.trained_frames // chunk * chunk
    short = min(4 * chunk, long)

    def exercise(frames: int, weight: float, **more: Any) -> Exercise:
        return Exercise(frames, max(1, TOKENS // (frames * tokens)), weight, **more)

    near = exercise(short, 0.25, turns="all")
    far = exercise(long, 0.25)
    recent = exercise(long, 0.25, window=WINDOW)
    rehearsed = exercise(long, 0.15, window=WINDOW, rehearse=True)
    behind = [exercise(long, 0.45, turns="together", remembered=True)] if backbone.clips is not None else []
    return {
        "regression": Stage("regression", (Phase(1500, (near, far, recent)),), 1e-2, 4e-3, 0.3, first_lesson=2_000_000),
        "matching": Stage(
            "matching",
            (Phase(1000, (near, far, recent)), Phase(2500, (near, far, recent, rehearsed, *behind))),
            6e-3,
            2.4e-3,
            0.3,
            first_lesson=3_000_000,
        ),
    }


class Regression(FlowLearner):
    """Train every layer on its own to give the output of the dense layer under teacher forcing."""

    def __init__(
        self, dense: Backbone, layers: Sequence[LatentAttention], stage: Stage, folder: Path, seed: int
    ) -> None:
        module = nn.ModuleList(layers)
        # Hooks do not see the layers of a compiled pass.
        super().__init__(dense, clips_of(dense), module, matrices(module), stage, folder, seed=seed, compile=False)
        self.layers, self.model = layers, dense.model
        self.rope = Rope(layers[0].radians, self.teacher.grid, torch.float32, dense.model.device)

    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean over layers of the squared error, which is 1 for a layer that always outputs the mean."""
        draw = self.draw(exercise, generator)
        inputs_and_outputs: dict[int, tuple[Tensor, Tensor]] = {}

        def record(layer: int, x: Tensor, arguments: tuple[Any, ...], output: Tensor) -> None:
            inputs_and_outputs[layer] = x, output

        with torch.no_grad(), observing_attention(self.model, record):
            forced_flow(self.teacher, draw, exercise)
        errors = []
        with half_precision(self.model.device):
            for number, layer in enumerate(self.layers):
                x, wanted = inputs_and_outputs[number]
                off = self._answer(layer, x, exercise).float() - wanted.float()
                errors.append(off.square().mean() / wanted.float().var())
        return torch.stack(errors).mean(), {f"layer_{number}": float(x.detach()) for number, x in enumerate(errors)}

    def _answer(self, layer: LatentAttention, x: Tensor, exercise: Exercise) -> Tensor:
        tokens = math.prod(self.teacher.grid)
        empty = room(layer.layout, x.shape[0], 0, x.dtype, x.device)
        context = LaidOut(empty, self.rope.frames(range(x.shape[1] // tokens)), room=False)
        layer.attention = Forced(self.chunk * tokens, exercise.window)
        return layer(layer.query(x), layer.key_value(x), context)


class Matching(FlowLearner):
    """Train all latent layers together so that the whole model predicts the dense model's flow."""

    def __init__(
        self,
        dense: Backbone,
        layers: Sequence[LatentAttention],
        stage: Stage,
        folder: Path,
        seed: int,
        compile: bool = True,
    ) -> None:
        module = nn.ModuleList(layers)
        student = replace(dense, model=dense.model.with_self_attention(layers))
        source, parameters = clips_of(dense), matrices(module)
        super().__init__(
            student, source, module, parameters, stage, folder, seed=seed, compile=compile, memories=draw_window
        )
        self.data = 0.0 if dense.clips is None else DATA
        self.guide = Teacher(dense.model, dense.chunk, dense.latent_size, compile)

    @torch.no_grad()
    def target(self, draw: Draw, exercise: Exercise) -> Tensor:
        return torch.lerp(forced_flow(self.guide, draw, exercise), draw.flow, self.data)


def matrices(module: nn.Module) -> list[Tensor]:
    """Return the parameters that Muon optimises."""
    return [x for x in module.parameters() if x.ndim == 2 and x.numel()]
