"""Training of the memory in a frozen backbone: a short window with it should predict what full attention predicts.

Source: Echo-Infinity, arXiv:2606.04527, trains the encoder with the whole 1.3B model by DMD, on self-rollouts of 5 s
and then on streams of 60 s with a prompt switch. Here the model stays frozen, and its full attention is the teacher.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.backbone.presets import Backbone
from harness.memory import At
from harness.rollout.passes import Passes
from harness.training.contexts.arranged import Draw
from harness.training.precision import half_precision
from harness.training.rollout_clips import clips_of
from harness.training.schedule import Exercise, Phase, Stage
from harness.training.trainer import FlowLearner, forced_flow
from strategies.echo_infinity.encoder import encoders_of
from strategies.echo_infinity.strategy import EchoInfinity

TOKENS = 3000
"""Tokens of the clips of one step; twice as many for streams, of which a step generates only a few chunks."""


def stages(backbone: Backbone) -> dict[str, Stage]:
    """Return the paper's two stages at the backbone's size: clips as long as its training, then streams of a minute,
    made from clips of that length whose prompts are stretched."""
    chunk, tokens = backbone.chunk, math.prod(backbone.model.config.grid(backbone.latent_size))
    long = backbone.trained_frames // chunk * chunk

    def mixture(size: int, returning: float) -> tuple[Exercise, ...]:
        clips = max(1, size // (long * tokens))
        return Exercise(long, clips, returning, turns="return"), Exercise(long, clips, 1 - returning)

    return {
        "short": Stage("short", (Phase(1500, mixture(TOKENS, 0.6)),), 5e-3, 2e-3, 0.4, first_lesson=4_000_000),
        "streaming": Stage(
            "streaming", (Phase(600, mixture(2 * TOKENS, 0.35)),), 3e-3, 1.2e-3, 0.3, first_lesson=5_000_000
        ),
    }


def encoder_of(backbone: Backbone, knobs: EchoInfinity) -> tuple[Backbone, nn.Module, list[Tensor]]:
    """Return a backbone with its own encoder, the encoder, and those of its parameters that Muon optimises."""
    adapted = replace(backbone, model=knobs.twin(backbone))
    carried = adapted.model.memory_module
    assert carried is not None
    module = adapted.model.get_submodule(carried)
    return adapted, module, [x for name, x in module.named_parameters() if x.ndim == 2 and "query_init" not in name]


class Remembering(FlowLearner):
    """Train the encoder through all updates of a clip; the frames of the clip itself are committed.

    Every chunk is denoised once, at a noise level of its own, after the true chunks before it, as far as the memory has
    kept them. The target is the flow of full attention, over the length that the backbone was trained for. Half of the
    steps have no sink, so that its information must come from the queries.
    """

    def __init__(
        self, backbone: Backbone, knobs: EchoInfinity, stage: Stage, folder: Path, seed: int, compile: bool = True
    ) -> None:
        adapted, module, matrices = encoder_of(backbone, knobs)
        super().__init__(backbone, clips_of(backbone), module, matrices, stage, folder, seed=seed, compile=compile)
        self.adapted, self.knobs = adapted, knobs

    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared difference of the flow to that of full attention for chunks after an eviction, in
        percent of the latents' variance, and values to log."""
        draw = self.draw(exercise, generator)
        with torch.no_grad():
            wanted = forced_flow(self.teacher, draw, exercise)
        knobs = self.knobs if self.step % 2 else replace(self.knobs, sink=0)
        errors = self._errors(draw, wanted, knobs)
        loss = 100 * torch.stack(errors).mean() / draw.clips.spread**2
        return loss, {"sink": float(knobs.sink)}

    def _errors(self, draw: Draw, wanted: Tensor, knobs: EchoInfinity) -> list[Tensor]:
        """Return the error of every chunk that sees a memory."""
        model, chunk, clips = self.adapted.model, self.chunk, draw.clips
        batch, frames = clips.clean.shape[:2]
        spec = model.memory_spec(self.teacher.grid, chunk, batch)
        memory = knobs.memory_of(spec, encoders_of(spec.module))
        passes = Passes(model, memory, spec, grid=self.teacher.grid, frames=frames, grad=True)
        with torch.no_grad():
            said = model.embed_prompt(clips.prompts)
            still = model.embed_time(torch.full((1, 1), float(self.sampler.context_noise), device=model.device))
        errors = []
        for number in range(frames // chunk):
            start, here = number * chunk, slice(number * chunk, (number + 1) * chunk)
            passes.prompt = [(keys[clips.heard[:, number]], values[clips.heard[:, number]]) for keys, values in said]
            # The first pass, at the highest level, still sees the previous memory; the first row decides for all.
            if memory.due and draw.levels[0, number]:
                memory.update()
            if memory.memories:
                flow = self._denoised(passes, draw, here, number, At(start, chunk, 0, commit=False))
                errors.append(((flow - wanted[:, here]).square() * clips.emphasis[:, here]).mean())
            if memory.due:
                memory.update()
            # Committed frames carry no gradient; gradients flow from update to update.
            with torch.no_grad():
                passes.commit(draw.context[:, here], still, At(start, chunk, 0, commit=True))
        return errors

    def _denoised(self, passes: Passes, draw: Draw, here: slice, number: int, at: At) -> Tensor:
        times = self.adapted.model.embed_time(draw.timesteps[:, number : number + 1])
        with half_precision(self.adapted.model.device):
            return passes.denoise(draw.noisy[:, here], times, at).float()
