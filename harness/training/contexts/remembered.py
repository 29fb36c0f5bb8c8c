"""Training with real memories: contexts come from a strategy, through the seam that rollouts use.

A clip is rolled out chunk by chunk, guided by the truth. Every chunk is denoised once with gradients, at a noise level
of its own, with the context that the memory recalls. Then the model denoises the chunk by its own last steps, and this
imperfect result is committed. Gradients reach the entries that the memory kept, averaged, chose or replayed. The loss
counts only what the recalled frames and the prompt determine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.sampler import to_clean, to_noisy
from harness.backbone.wan import Time
from harness.memory import At, Context, Entries, Memory, MemorySpec, PromptSwitch, Strategy
from harness.memory.proxy import Watched
from harness.rollout.passes import Passes
from harness.training.clips import Clips
from harness.training.precision import half_precision
from harness.training.teacher_forcing import OWN_STEPS, attending, explicit_attention

if TYPE_CHECKING:
    from harness.training.contexts.arranged import Draw

ALIKE = 0.15
"""Squared difference of a slot's values to those of a past frame, in units of that frame's own difference to the mean
of all, below which the slot shows that frame."""
FAINT = 0.2
"""Mean weight of a slot's entries below which the slot counts as empty."""

DrawStrategy = Callable[[torch.Generator], Strategy]


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """Return a generator of NumPy that is determined by the next number of one of torch."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


class Shown(Watched):
    """Memory that records which past frames are in the first layer's contexts, and their distance from the chunk.

    The values of the first layer depend on the latents only, so slots are identified by their values, also where a
    memory averaged, chose or rounded them. times: temporal ids relative to the chunk in the latest recall, [B, F], NaN
    for frames that are not in the context.
    """

    def __init__(self, inner: Memory, spec: MemorySpec, frames: int) -> None:
        super().__init__(inner)
        self.dtype, self.device = spec.dtype, spec.device
        self.times = torch.full((spec.batch, frames), torch.nan)
        self.values: dict[int, Tensor] = {}

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        with self._wide():
            context = self.inner.recall(layer, self._cast(query), at)
            # Strategies that are drawn here give all heads one context.
            assert isinstance(context, Context)
            if layer == 0 and not at.commit:
                self._note(context)
        return context

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        entries = entries.map(lambda x: x.to(self.dtype))
        if layer == 0:
            values = entries.tensors[-1].detach().float().flatten(2)
            self.values.update((at.start + frame, values[:, frame]) for frame in range(at.frames))
        with self._wide():
            self.inner.remember(layer, entries, self._cast(query), at)

    def begin_commit(self, at: At) -> None:
        with self._wide():
            self.inner.begin_commit(at)

    def see(self, latents: Tensor, at: At) -> None:
        with self._wide():
            self.inner.see(latents, at)

    def forget(self, switch: PromptSwitch) -> None:
        with self._wide():
            self.inner.forget(switch)

    def _wide(self) -> torch.autocast:
        """Disable autocast: memories compute in their own data type; half precision is for the passes only."""
        return torch.autocast(self.device.type, enabled=False)

    def _cast(self, query: Tensor | None) -> Tensor | None:
        return None if query is None else query.to(self.dtype)

    @torch.no_grad()
    def _note(self, context: Context) -> None:
        self.times.fill_(torch.nan)
        if not context.slots or not self.values:
            return
        slots = torch.cat([slot.tensors[-1] for slot in context.slots], 1)
        batch, count, tokens = slots.shape[:3]
        past = torch.stack(list(self.values.values()), 1)
        slots = slots.detach().float().flatten(2)
        off = torch.cdist(slots, past).square()
        own = (past - past.mean(1, keepdim=True)).square().sum(-1)[:, None]
        # Among equal frames, the latest one counts.
        nearest = (off / own.clamp(min=1e-6) - 1e-5 * torch.arange(past.shape[1], device=past.device)).min(2)
        near = nearest.values < ALIKE
        if context.weights is not None:
            near &= context.weights.view(batch, count, tokens).mean(2) >= FAINT
        positions, start = context.positions, context.start
        at = positions[:, ::tokens, 0] if isinstance(positions, Tensor) else torch.tensor([*positions])[None]
        begin = start[:, None] if isinstance(start, Tensor) else start
        times = (at.float() - begin).expand(batch, -1).cpu()
        near, ids = near.cpu(), torch.tensor(list(self.values))[nearest.indices.cpu()]
        for slot in range(count):
            rows = near[:, slot].nonzero().squeeze(1)
            here = ids[rows, slot]
            # A frame that is shown twice counts at its later place.
            self.times[rows, here] = torch.fmax(self.times[rows, here], times[rows, slot])


def flow_behind(
    backbone: Backbone, strategy: Strategy, draw: Draw, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the flow of every chunk with the context of a strategy's memory, [B, F, C, H, W], and `Draw.seen`.

    The clips of the draw switch together. Gradients flow through the denoising of `draw.noisy` at `draw.timesteps`.
    """
    adapted = strategy.adapt(backbone)
    with attending(adapted.model, explicit_attention, explicit_attention), half_precision(adapted.model.device):
        # Autocast keeps the cast weights of the first pass; that pass has gradients, so that they do.
        return _behind(adapted, strategy, draw, generator)


def _behind(backbone: Backbone, strategy: Strategy, draw: Draw, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    model, chunk, clips, sampler = backbone.model, backbone.chunk, draw.clips, backbone.sampler
    batch, frames = clips.clean.shape[:2]
    grid = model.config.grid(backbone.latent_size)
    spec = model.memory_spec(grid, chunk, batch)
    memory = Shown(strategy.open(spec), spec, frames)
    passes = Passes(model, memory, spec, grid=grid, frames=frames, reads_query=strategy.reads_query, grad=True)
    said = model.embed_prompt(clips.prompts)
    levels = (*sampler.timesteps[-OWN_STEPS:], sampler.context_noise)
    *times, commit_time = [model.embed_time(torch.full((1, 1), level, device=model.device)) for level in levels]
    replay = partial(_replay, passes, commit_time)
    flows, seen, made = [], [], clips.clean[:, :0]
    for number in range(frames // chunk):
        start, here = number * chunk, slice(number * chunk, (number + 1) * chunk)
        truth, heard = clips.clean[:, here], clips.heard[:, number]
        passes.prompt = [(keys[heard], values[heard]) for keys, values in said]
        if number and not torch.equal(heard, clips.heard[:, number - 1]):
            memory.forget(_switch(clips, number, start, made[:, made.shape[1] - memory.lookback :], replay))
        time = model.embed_time(draw.timesteps[:, number : number + 1])
        flows.append(passes.denoise(draw.noisy[:, here], time, At(start, chunk, 0, commit=False)).float())
        seen.append(memory.times.clone())
        work = truth
        with torch.no_grad():
            for step, sigma in enumerate(sampler.sigmas[-OWN_STEPS:]):
                fresh = torch.randn(work.shape, generator=generator).to(work)
                noisy, at = to_noisy(work, fresh, sigma), At(start, chunk, step + 1, commit=False)
                work = to_clean(noisy, passes.denoise(noisy, times[step], at), sigma)
        work = torch.where(clips.opens[:, number, None, None, None, None], truth, work)
        passes.commit(work, commit_time, At(start, chunk, OWN_STEPS + 1, commit=True))
        made = torch.cat((made, work), 1)
    return torch.cat(flows, 1), torch.stack(seen, 1)


def _replay(passes: Passes, commit_time: Time, latents: Tensor, start: int, chunk: int | None = None) -> None:
    for part in latents.split(chunk or max(latents.shape[1], 1), 1):
        if part.shape[1]:
            with half_precision(latents.device):
                passes.commit(part, commit_time, At(start, part.shape[1], 0, commit=True))
        start += part.shape[1]


def _switch(clips: Clips, number: int, start: int, latents: Tensor, replay: Callable[..., None]) -> PromptSwitch:
    """Return the prompt switch before chunk `number`."""
    prompts = [clips.heard[:, each].tolist() for each in range(clips.heard.shape[1])]
    scenes = [each for place, each in enumerate(prompts) if not place or each != prompts[place - 1]]

    def texts(scene: list[int]) -> list[str]:
        return [clips.texts[each] for each in scene]

    return PromptSwitch(
        start=start,
        kind=clips.kinds[prompts[number][0]],
        old_prompts=clips.prompts[prompts[number - 1]],
        new_prompts=clips.prompts[prompts[number]],
        latents=latents,
        replay=replay,
        old_texts=texts(prompts[number - 1]),
        new_texts=texts(prompts[number]),
        script=[texts(scene) for scene in scenes],
        encode=clips.encode,
    )
