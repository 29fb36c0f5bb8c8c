"""Training of the pocket's model, a stage at a time.

Every step is a function of (seed, step) and of the weights before it, so a run that is resumed from its last checkpoint
ends with the same bits, at the same number of threads, as one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan
from harness.pocket.codec import SPREAD, PatchCodec
from harness.pocket.lessons import Lesson, emphasis, lesson
from harness.pocket.preset import CHUNK, LATENT_SIZE
from harness.pocket.stages import Exercise, Stage
from harness.pocket.teacher import Teacher

KEPT = 0.999  # of the running mean of the weights, a step


@dataclass
class Trainer:
    """A stage under way.

    folder: where `harness.pocket.study` keeps the latest checkpoint and the log.
    """

    model: CausalWan
    codec: PatchCodec
    stage: Stage
    folder: Path
    seed: int = 0
    chunk: int = CHUNK
    sampler: Sampler = field(default_factory=Sampler)
    compile: bool = True
    step: int = 0
    mean: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.model.requires_grad_(True)
        self.teacher = Teacher(self.model, self.chunk, LATENT_SIZE, self.compile)
        matrices = [x for name, x in self.model.named_parameters() if name.startswith("blocks.") and x.ndim == 2]
        chosen = set(map(id, matrices))
        rest = [x for x in self.model.parameters() if id(x) not in chosen]
        stage = self.stage
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=stage.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=stage.rest_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.mean = {name: x.detach().clone() for name, x in self.model.state_dict().items()}

    @property
    def steps(self) -> int:
        return self.stage.steps

    def advance(self) -> dict[str, float]:
        """Take one step; returns what goes to the log."""
        began = time.monotonic()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        exercise = self.stage.exercise(self.step, generator)
        number = self.stage.first_lesson + self.step
        taught = lesson(self.seed, number, exercise.clips, exercise.frames, self.chunk, exercise.turns)
        losses, levels = self._losses(taught, exercise, generator)
        losses.mean().backward()
        pull = float(nn.utils.clip_grad_norm_(self.model.parameters(), 1.0))
        pace = self.stage.pace(self.step)
        for optimiser, rate in zip(self.optimisers, (self.stage.rate, self.stage.rest_rate), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * pace
            optimiser.step()
            optimiser.zero_grad()
        self._average()
        self.step += 1
        by_level = {
            f"loss_{sigma:.3f}": float(losses.detach()[levels == number].mean())
            for number, sigma in enumerate(self.sampler.sigmas)
            if bool((levels == number).any())
        }
        loss = float(losses.detach().mean())
        seconds = time.monotonic() - began
        return {
            "step": self.step,
            "frames": exercise.frames,
            "loss": loss,
            "pull": pull,
            "seconds": seconds,
            **by_level,
        }

    def _losses(self, taught: Lesson, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Squared error of the flow for every chunk [B, chunks], 1 for a model that answers nothing; and its level."""
        clean, answer = (self.codec.encode(clip.pixels) for clip in (taught.clip, taught.asked))
        levels = torch.randint(len(self.sampler.sigmas), taught.heard.shape, generator=generator)
        sigma = torch.tensor(self.sampler.sigmas)[levels]
        noise = torch.randn(answer.shape, generator=generator)
        noisy = torch.lerp(answer, noise, self._wide(sigma))
        context = self._context(clean, taught, exercise, generator)
        flow = self.teacher.coarse(context, noisy, 1000 * sigma, taught.prompts, taught.heard, exercise.window)
        error = (flow - (noise - answer)).square() * emphasis(taught.asked, answer.shape[-1])
        return error.unflatten(1, (-1, self.chunk)).mean((2, 3, 4, 5)) / (1 + SPREAD**2), levels

    def _context(self, clean: Tensor, taught: Lesson, exercise: Exercise, generator: torch.Generator) -> Tensor:
        """What every chunk remembers [B, F, ...]: the model's own work, or the truth, half of the time noised a little,
        as what a rollout commits is never quite clean."""
        if exercise.rehearse:
            return self.teacher.rehearse(clean, taught.prompts, taught.heard, taught.opens, self.sampler, generator)
        batch = len(clean)
        blur = torch.rand(batch, generator=generator) * (torch.rand(batch, generator=generator) < 0.5) * 0.25
        return clean + SPREAD * blur[:, None, None, None, None] * torch.randn(clean.shape, generator=generator)

    def _wide(self, per_chunk: Tensor) -> Tensor:
        """[B, chunks] -> [B, F, 1, 1, 1]."""
        return per_chunk.repeat_interleave(self.chunk, 1)[:, :, None, None, None]

    @torch.no_grad()
    def _average(self) -> None:
        kept = min(KEPT, (1 + self.step) / (10 + self.step))
        names, values = zip(*self.model.state_dict().items(), strict=True)
        torch._foreach_lerp_([self.mean[name] for name in names], list(values), 1 - kept)

    @property
    def identity(self) -> dict[str, Any]:
        return {"stage": repr(self.stage), "seed": self.seed}

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "mean": self.mean,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.mean = dict(state["mean"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
