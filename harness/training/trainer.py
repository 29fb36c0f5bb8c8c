"""Trainers that learn from clips, one step at a time.

Every step is a function of (seed, step) and of the weights before it, so a run that is resumed from its last checkpoint
ends with the same bits, at the same number of threads, as one that was never stopped.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.backbone.presets import Backbone
from harness.training.clips import Clips, Source
from harness.training.contexts.arranged import Arrangement, Draw
from harness.training.contexts.arrangements import arrange
from harness.training.contexts.remembered import DrawStrategy, flow_behind
from harness.training.schedule import Exercise, Stage
from harness.training.teacher_forcing import Teacher

KEPT = 0.999  # share of the running mean of the weights that a step keeps


class Learner(ABC):
    """Base class of trainers: the trained weights of a stage, their optimisers, and the running mean of the weights.

    Parameters
    ----------
    module: the trained parameters; the rest of a model may share its graph and stays unchanged.
    matrices: parameters of `module` that Muon optimises; AdamW optimises the others.
    folder: folder in which `harness.training.loop` keeps the latest checkpoint and the log.
    """

    def __init__(self, module: nn.Module, matrices: Sequence[Tensor], stage: Stage, folder: Path, seed: int) -> None:
        self.module, self.stage, self.folder, self.seed = module, stage, folder, seed
        self.step = 0
        module.requires_grad_(True)
        chosen = set(map(id, matrices))
        rest = [x for x in module.parameters() if id(x) not in chosen]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=stage.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=stage.rest_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.mean = {name: x.detach().clone() for name, x in module.state_dict().items()}

    @property
    def steps(self) -> int:
        return self.stage.steps

    @abstractmethod
    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, with gradients, and further values for the log."""

    def advance(self) -> dict[str, float]:
        """Take one step, and return the values for the log."""
        began = time.monotonic()
        generator = self.generator(self.step)
        exercise = self.stage.exercise(self.step, generator)
        loss, more = self.losses(exercise, generator)
        loss.backward()
        gradient_norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), 1.0))
        rate_factor = self.stage.pace(self.step)
        for optimiser, rate in zip(self.optimisers, (self.stage.rate, self.stage.rest_rate), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_factor
            optimiser.step()
            optimiser.zero_grad()
        self._average()
        self.step += 1
        seconds = time.monotonic() - began
        logged = {"step": self.step, "frames": exercise.frames, "loss": float(loss.detach())}
        return {**logged, "gradient_norm": gradient_norm, "seconds": seconds, **more}

    def generator(self, step: int) -> torch.Generator:
        """Return the generator of all random numbers of a step."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)

    @torch.no_grad()
    def _average(self) -> None:
        kept = min(KEPT, (1 + self.step) / (10 + self.step))
        names, values = zip(*self.module.state_dict().items(), strict=True)
        torch._foreach_lerp_([self.mean[name] for name in names], list(values), 1 - kept)

    def finish(self) -> None:
        """Replace the weights by their running mean."""
        self.module.load_state_dict(self.mean)

    @property
    def identity(self) -> dict[str, Any]:
        return {"stage": repr(self.stage), "seed": self.seed}

    def state(self) -> dict[str, Any]:
        return {
            "model": self.module.state_dict(),
            "mean": self.mean,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["model"])
        self.mean = {name: x.to(self.mean[name].device) for name, x in state["mean"].items()}
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


class FlowLearner(Learner):
    """Flow matching under teacher forcing, at the noise levels of the backbone's sampler.

    backbone: backbone whose model, or the part of it in `module`, is trained. memories: function that draws the
    strategy of a step whose exercise is `remembered`.
    """

    def __init__(
        self,
        backbone: Backbone,
        source: Source,
        module: nn.Module,
        matrices: Sequence[Tensor],
        stage: Stage,
        folder: Path,
        *,
        seed: int = 0,
        compile: bool = True,
        memories: DrawStrategy | None = None,
    ) -> None:
        super().__init__(module, matrices, stage, folder, seed)
        self.backbone, self.memories = backbone, memories
        self.source, self.chunk, self.sampler = source, backbone.chunk, backbone.sampler
        self.teacher = Teacher(backbone.model, backbone.chunk, backbone.latent_size, compile)

    def draw(self, exercise: Exercise, generator: torch.Generator) -> Draw:
        """Return the clips of the current step with their noise."""
        clips = self.source(self.seed, self.stage.first_lesson + self.step, exercise).to(self.teacher.model.device)
        answer = clips.answer
        levels = torch.randint(len(self.sampler.sigmas), clips.heard.shape, generator=generator).to(answer.device)
        sigma = torch.tensor(self.sampler.sigmas, device=answer.device)[levels]
        noise = torch.randn(answer.shape, generator=generator).to(answer)
        noisy = torch.lerp(answer, noise, self._wide(sigma))
        context = self._context(clips, exercise, generator)
        arrangement = self._arrangement(clips, exercise)
        seen = self._in_window(clips, exercise) if arrangement is None else arrangement.seen
        return Draw(clips, levels, 1000 * sigma, noisy, noise - answer, context, arrangement, seen)

    def _in_window(self, clips: Clips, exercise: Exercise) -> Tensor | None:
        """Return `Draw.seen` for a window of chunks; None where the exercise has no window."""
        if not exercise.window:
            return None
        batch, chunks = clips.heard.shape
        starts = self.chunk * torch.arange(chunks)
        times = (torch.arange(chunks * self.chunk) - starts[:, None]).float()
        outside = (times >= 0) | (times < -self.chunk * exercise.window)
        return times.masked_fill(outside, torch.nan).expand(batch, -1, -1)

    def _arrangement(self, clips: Clips, exercise: Exercise) -> Arrangement | None:
        if not exercise.arranged:
            return None
        config, (rows, columns) = self.teacher.model.config, self.teacher.grid
        heads = config.num_heads, config.head_dim
        seed = self.seed * 1_000_003 + self.stage.first_lesson + self.step
        made = arrange(
            seed, clips.heard.cpu(), self.chunk, rows * columns, heads, exercise.arranged, narrow=exercise.narrow
        )
        return made.to(clips.heard.device)

    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of the flow, which is 1 for a model that outputs zero, and the error at each
        noise level."""
        draw = self.draw(exercise, generator)
        clips = draw.clips
        if exercise.remembered:
            assert self.memories is not None
            flow, seen = flow_behind(self.backbone, self.memories(generator), draw, generator)
            draw = replace(draw, seen=seen)
        else:
            flow = forced_flow(self.teacher, draw, exercise)
        error = (flow - self.target(draw, exercise)).square() * draw.weights
        losses = error.unflatten(1, (-1, self.chunk)).mean((2, 3, 4, 5)) / (1 + clips.spread**2)
        by_level = {
            f"loss_{sigma:.3f}": float(losses.detach()[draw.levels == number].mean())
            for number, sigma in enumerate(self.sampler.sigmas)
            if bool((draw.levels == number).any())
        }
        return losses.mean(), by_level

    def target(self, draw: Draw, exercise: Exercise) -> Tensor:
        """Return the target of the flow, [B, F, C, H, W]."""
        return draw.flow

    def _context(self, clips: Clips, exercise: Exercise, generator: torch.Generator) -> Tensor:
        """Return the latents that are remembered, [B, F, ...].

        They are the model's own rollout, or the truth with a little noise in half of the clips, since the latents that
        a rollout commits are never quite clean.
        """
        clean = clips.clean
        if exercise.rehearse:
            return self.teacher.rehearse(clean, clips.prompts, clips.heard, clips.opens, self.sampler, generator)
        batch = len(clean)
        blur = torch.rand(batch, generator=generator) * (torch.rand(batch, generator=generator) < 0.5) * 0.25
        noise = torch.randn(clean.shape, generator=generator)
        return clean + (clips.spread * blur[:, None, None, None, None] * noise).to(clean)

    def _wide(self, per_chunk: Tensor) -> Tensor:
        """Return values of chunks [B, chunks] as values of frames [B, F, 1, 1, 1]."""
        return per_chunk.repeat_interleave(self.chunk, 1)[:, :, None, None, None]


def forced_flow(teacher: Teacher, draw: Draw, exercise: Exercise) -> Tensor:
    """Return the flow that a teacher predicts for a draw under teacher forcing, [B, F, C, H, W]."""
    clips = draw.clips
    given = draw.context, draw.noisy, draw.timesteps, clips.prompts, clips.heard
    return teacher.flow_in_half_precision(*given, exercise.window, draw.arrangement)
