"""Learning from clips, a step at a time.

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

KEPT = 0.999  # of the running mean of the weights, a step


class Learner(ABC):
    """A stage under way: weights, their optimisers, and their running mean.

    Parameters
    ----------
    module: what is trained; the rest of a model may share its graph and stays as it is.
    matrices: those of its parameters that Muon takes; the others go to AdamW.
    folder: where `harness.training.loop` keeps the latest checkpoint and the log.
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
        """The loss of a step, with gradients, and what else goes to the log."""

    def advance(self) -> dict[str, float]:
        """Take one step; returns what goes to the log."""
        began = time.monotonic()
        generator = self.generator(self.step)
        exercise = self.stage.exercise(self.step, generator)
        loss, more = self.losses(exercise, generator)
        loss.backward()
        pull = float(nn.utils.clip_grad_norm_(self.module.parameters(), 1.0))
        pace = self.stage.pace(self.step)
        for optimiser, rate in zip(self.optimisers, (self.stage.rate, self.stage.rest_rate), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * pace
            optimiser.step()
            optimiser.zero_grad()
        self._average()
        self.step += 1
        seconds = time.monotonic() - began
        told = {"step": self.step, "frames": exercise.frames, "loss": float(loss.detach()), "pull": pull}
        return {**told, "seconds": seconds, **more}

    def generator(self, step: int) -> torch.Generator:
        """Of all that is drawn in a step."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)

    @torch.no_grad()
    def _average(self) -> None:
        kept = min(KEPT, (1 + self.step) / (10 + self.step))
        names, values = zip(*self.module.state_dict().items(), strict=True)
        torch._foreach_lerp_([self.mean[name] for name in names], list(values), 1 - kept)

    def finish(self) -> None:
        """Take the running mean for the weights."""
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

    backbone: its model learns, or those parts of it that `module` holds. memories: draws the strategy of a step whose
    exercise is `remembered`.
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
        """Clips of this step and their noise."""
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
        """What each chunk sees through a window of chunks."""
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
        made = arrange(seed, clips.heard.cpu(), self.chunk, rows * columns, heads, exercise.arranged)
        return made.to(clips.heard.device)

    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of the flow, 1 for a model that answers nothing; and that of each level."""
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
        """What the flow should be."""
        return draw.flow

    def _context(self, clips: Clips, exercise: Exercise, generator: torch.Generator) -> Tensor:
        """What every chunk remembers [B, F, ...]: the model's own work, or the truth, half of the time noised a little,
        as what a rollout commits is never quite clean."""
        clean = clips.clean
        if exercise.rehearse:
            return self.teacher.rehearse(clean, clips.prompts, clips.heard, clips.opens, self.sampler, generator)
        batch = len(clean)
        blur = torch.rand(batch, generator=generator) * (torch.rand(batch, generator=generator) < 0.5) * 0.25
        noise = torch.randn(clean.shape, generator=generator)
        return clean + (clips.spread * blur[:, None, None, None, None] * noise).to(clean)

    def _wide(self, per_chunk: Tensor) -> Tensor:
        """[B, chunks] -> [B, F, 1, 1, 1]."""
        return per_chunk.repeat_interleave(self.chunk, 1)[:, :, None, None, None]


def forced_flow(teacher: Teacher, draw: Draw, exercise: Exercise) -> Tensor:
    """What a teacher makes of a draw."""
    clips = draw.clips
    given = draw.context, draw.noisy, draw.timesteps, clips.prompts, clips.heard
    return teacher.coarse(*given, exercise.window, draw.arrangement)
