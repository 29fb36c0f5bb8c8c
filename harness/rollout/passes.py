"""Passes of the DiT through a memory: recall, lay out, attend; and on the commit pass, remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from harness.backbone.block import Source
from harness.backbone.kept import compiled
from harness.backbone.layout import LaidOut, LaidOutByHeads, fill, gather, part, room
from harness.backbone.request import Compilation
from harness.backbone.rope import Rope
from harness.backbone.wan import CausalWan, Time
from harness.memory import At, Context, Entries, GroupedContext, HeadGroup, Layout, Memory, MemorySpec
from harness.memory.packed import PackedEntries
from harness.rollout.graphs import Graphs

Lifetime = Literal["chunk", "pass"]
"""How long a laid-out context lives: a chunk, in buffers of each layer's own; or a pass, in one that all share."""


class Passes:
    """One rollout's passes.

    Parameters
    ----------
    model, memory, spec: who computes, who remembers, and what the memory was opened for.
    grid: tokens of a frame as (rows, columns).
    frames: the most latent frames that a context has here; room for them and a chunk is allocated once.
    reads_query: recall inside the layers, with the query, instead of before the pass.
    reads_commit_query: give the query to `remember` only.
    layout: "chunk" lays a context out once a chunk; "pass" does it in every pass and needs one layer's room only.
    compile: how passes run wherever contexts have a size that the memory calls steady; they run eagerly before, with
        gradients, and on the meta device.
    grad: keep the graph for training; contexts are concatenated then.
    """

    def __init__(
        self,
        model: CausalWan,
        memory: Memory,
        spec: MemorySpec,
        *,
        grid: tuple[int, int],
        frames: int,
        reads_query: bool = False,
        reads_commit_query: bool = False,
        layout: Lifetime = "chunk",
        compile: Compilation = "off",
        grad: bool = False,
    ) -> None:
        self.model, self.memory, self.spec = model, memory, spec
        self.reads_query, self.lifetime, self.grad = reads_query, layout, grad
        self.remembers_query = reads_query or reads_commit_query
        self.compile = compile != "off" and not grad and spec.device.type != "meta"
        # Buffers that all layers share are laid out within a pass, from slots that have no lasting place.
        graphs = compile == "graphs" and self.compile and layout == "chunk"
        self._graphs = Graphs(model, spec.device, self.remembers_query) if graphs else None
        self.prompt: list[tuple[Tensor, Tensor]] = []
        wide = torch.float64 if spec.dtype == torch.float64 else torch.float32
        self._rope = Rope(model.layers[0].self_attn.radians, grid, wide, spec.device)
        self._recalled: dict[int, Context | GroupedContext] = {}
        self._laid_out: dict[int, LaidOut | LaidOutByHeads] = {}
        tokens = 0 if grad else (frames + spec.chunk) * spec.frame_tokens
        allocate = partial(room, spec.layout, spec.batch, tokens, spec.dtype, spec.device)
        self._buffers = [allocate()] * spec.layers if layout == "pass" else [allocate() for _ in range(spec.layers)]

    def denoise(self, latents: Tensor, time: Time, at: At) -> Tensor:
        """A noisy pass: latents [B, frames, C, H, W] -> flow."""
        flow, _, _ = self._run(latents, time, at)
        assert flow is not None
        return flow

    def commit(self, latents: Tensor, time: Time, at: At) -> None:
        """The clean pass: every layer's new entries go to the memory, from layer 0 to the last one."""
        _, owns, queries = self._run(latents, time, at)
        shape = (at.frames, self.spec.frame_tokens)
        self.memory.begin_commit(at)
        for layer, own in enumerate(owns):
            entries = Entries(*(x.unflatten(1, shape) for x in own))
            self.memory.remember(layer, entries, queries[layer] if self.remembers_query else None, at)

    def _run(self, latents: Tensor, time: Time, at: At) -> tuple[Tensor | None, list[tuple[Tensor, ...]], list[Tensor]]:
        recall = at.pass_index == 0 or self.memory.stale(at.pass_index)
        if recall and self.reads_query:
            return self.model(latents, time, self.prompt, lambda layer: partial(self._recall, layer, at), at.commit)
        if recall:
            for layer in range(self.spec.layers):
                self._recalled[layer] = self.memory.recall(layer, None, at)
        # Static shapes only: one graph then serves every later chunk. Contexts by head are no part of a graph.
        steady = at.frames == self.spec.chunk and all(
            isinstance(context, GroupedContext) or context.frames in self.memory.steady
            for context in self._recalled.values()
        )
        compile = self.compile and steady
        contexts: Callable[[int], LaidOut | LaidOutByHeads | Source]
        if self.lifetime == "pass":
            contexts = partial(self._lay_out, frames=at.frames, compile=compile)
        else:
            if recall:
                for layer in range(self.spec.layers):
                    self._lay_out(layer, at.frames, compile)
            contexts = self._laid_out.__getitem__
        if compile and self._graphs is not None:
            laid_out = [self._laid_out[layer] for layer in range(self.spec.layers)]
            made = self._graphs.run(latents, time, self.prompt, laid_out, at.commit)
            if made is not None:
                return made
        return self.model(latents, time, self.prompt, contexts, at.commit, compile)

    def _recall(self, layer: int, at: At, query: Tensor) -> LaidOut | LaidOutByHeads:
        self._recalled[layer] = self.memory.recall(layer, query, at)
        return self._lay_out(layer, at.frames, compile=False)

    def _lay_out(self, layer: int, frames: int, compile: bool) -> LaidOut | LaidOutByHeads:
        context, buffers = self._recalled[layer], self._buffers[layer]
        laid_out: LaidOut | LaidOutByHeads
        if isinstance(context, GroupedContext):
            laid_out = self._lay_out_groups(layer, context, frames)
        else:
            laid_out = self._placed(self.spec.layout, context, buffers, context.start, frames, compile)
        self._laid_out[layer] = laid_out
        return laid_out

    def _placed(
        self,
        layout: Layout,
        context: Context | HeadGroup,
        buffers: tuple[Tensor, ...],
        start: int | Tensor,
        frames: int,
        compile: bool,
    ) -> LaidOut:
        slots = [slot if isinstance(slot, PackedEntries) else slot.tensors for slot in context.slots]
        needed = (context.frames + frames) * self.spec.frame_tokens
        fits = not self.grad and needed <= buffers[0].shape[1]
        if fits:
            if slots:
                run = compiled(fill) if compile else fill
                run(layout, buffers, slots, self._rotation(context.positions), context.weights)
            tensors = tuple(buffer[:, :needed] for buffer in buffers)
        elif slots:
            tensors = layout.ready(gather(slots), self._rotation(context.positions), context.weights)
        else:
            tensors = room(layout, buffers[0].shape[0], 0, self.spec.dtype, self.spec.device)
        return LaidOut(tensors, self._own_rotation(start, frames), room=fits)

    def _lay_out_groups(self, layer: int, context: GroupedContext, frames: int) -> LaidOutByHeads:
        """Lay out each group in its part of the layer's buffers, which have room for all heads at full capacity."""
        heads, single = self.spec.layout.one_head()
        context.check(layer, self.spec.batch, heads)
        buffers, first, laid_out = self._buffers[layer], 0, []
        # Tokens of one head that fit into the buffers of all heads of all rows.
        space = buffers[0].shape[1] * self.spec.batch * heads
        for group in context.groups:
            tokens = (group.frames + frames) * self.spec.frame_tokens
            last = first + len(group.heads) * tokens
            own = part(buffers, single, len(group.heads), tokens if last <= space else 0, first if last <= space else 0)
            laid_out.append((group.heads, self._placed(single, group, own, context.start, frames, compile=False)))
            first = last
        return LaidOutByHeads(tuple(laid_out), self._own_rotation(context.start, frames))

    def _rotation(self, positions: Sequence[float] | Tensor) -> Tensor:
        if isinstance(positions, Tensor) and positions.ndim == 3:
            return self._rope.tokens(positions)
        return self._rope.frames(positions)

    def _own_rotation(self, start: int | Tensor, frames: int) -> Tensor:
        if isinstance(start, Tensor):
            return self._rope.frames(start[:, None] + torch.arange(frames, device=start.device))
        return self._rope.frames(range(start, start + frames))
