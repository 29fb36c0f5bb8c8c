"""Echo-Infinity over whole rollouts: a window behind a sink, and queries that read what leaves it (spec section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .dit import (
    Config,
    FrameKV,
    Weights,
    attend,
    forward,
    gelu_tanh,
    linear,
    rms_norm,
    rotate,
    token_grid,
)
from .slots import Chunk

FLUSH_KEEP = 2
"""Frames that a flush leaves besides the sink."""


@dataclass(frozen=True, kw_only=True)
class QueryKnobs:
    """All lengths in latent frames; the window counts sink and current chunk, not the memory frames."""

    window: int
    sink: int
    memory: int
    reach: int
    positions: str
    update: str
    groups: int
    source: str
    encoder_layers: int
    gate: bool
    residual: bool
    sink_anchor: bool
    normed_keys: bool
    on_switch: str
    memory_recache: bool


class Queries:
    """One video. `kept` and `leaving` are frame ids, the same in all layers; `stores` holds each layer's entries."""

    def __init__(self, weights: Weights, config: Config, knobs: QueryKnobs, n: int) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        self.stores: list[dict[int, FrameKV]] = [{} for _ in range(config["num_layers"])]
        self.kept: list[int] = []
        self.leaving: list[dict[int, FrameKV]] = []
        self.due = False
        self.begun = False
        names = [self.prefix(group) + "query_init" for group in range(knobs.groups)] if knobs.memory else []
        self.queries = [weights[name] for name in names]

    def prefix(self, group: int) -> str:
        """Where the encoder of a group of layers lies among the weights."""
        return "query_memory_encoder." + (f"{group}." if self.knobs.groups > 1 else "")

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt = current, prompts[1]
        if current.switch is None or self.knobs.on_switch == "keep":
            return
        sink = self.knobs.sink
        if self.knobs.on_switch == "flush":
            newest = len(self.kept) - FLUSH_KEEP
            self.kept = [frame for slot, frame in enumerate(self.kept) if slot < sink or slot >= newest]
            return
        # The old sink stays with "recache" only, and only once the window has moved.
        stays = self.knobs.on_switch == "recache" and current.start > self.knobs.window
        self.kept = self.kept[:sink] if stays else []
        again = min(self.knobs.window - len(self.kept), current.start)
        frames = list(range(current.start - again, current.start))
        _, own = self.look(past[frames], 0.0, frames)
        self.keep(own, frames)

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        if number > 0 and self.due:
            self.update()
        velocity, own = self.look(latents, timestep, self.current.ids)
        if clean:
            self.keep(own, self.current.ids)
        return velocity

    def look(self, latents: Tensor, timestep: float, ids: Sequence[int]) -> tuple[Tensor, list[list[FrameKV]]]:
        """One pass over the frames `ids` at unified relative positions, or at their own (spec 2.2)."""
        knobs = self.knobs
        sink, local = self.kept[: knobs.sink], self.kept[knobs.sink :]
        last = ids[-1] if knobs.positions == "absolute" else min(ids[-1], knobs.reach - 1)
        own = list(range(last - len(ids) + 1, last + 1))
        begin = own[0] - len(local)
        positions = sink if knobs.positions == "absolute" else list(range(len(sink)))
        shown = self.begun and (len(ids) <= self.n or knobs.memory_recache)
        if shown:
            positions = [*positions, *range(begin - knobs.memory, begin)]
        positions = [*positions, *range(begin, own[0])]
        self.grid = token_grid(self.config, latents.shape[2], latents.shape[3])
        tokens = self.grid[0] * self.grid[1]
        context: list[list[FrameKV]] = []
        for layer, store in enumerate(self.stores):
            memory = self.memory_frames(layer, tokens) if shown else []
            context.append([*(store[frame] for frame in sink), *memory, *(store[frame] for frame in local)])
        return forward(self.weights, self.config, latents, timestep, self.prompt, own, context, positions)

    def memory_frames(self, layer: int, tokens: int) -> list[FrameKV]:
        """What a layer reads of the queries of its group (spec 2.1)."""
        group = layer * self.knobs.groups // self.config["num_layers"]
        name, queries = self.prefix(group), self.queries[group]
        keys = linear(queries, self.weights, f"{name}to_k")
        if self.knobs.normed_keys:
            keys = rms_norm(keys, self.weights[f"{name}norm_k_out.weight"], self.config["eps"])
        values = linear(queries, self.weights, f"{name}to_v")
        heads = self.config["num_heads"]
        shape = (self.knobs.memory, tokens, heads, self.config["dim"] // heads)
        return list(zip(keys.view(shape), values.view(shape), strict=True))

    def keep(self, own: Sequence[Sequence[FrameKV]], frames: Sequence[int]) -> None:
        """Commit frames and evict the oldest ones behind the sink, until the next chunk fits (spec 2.1, 2.3)."""
        if self.due:
            if len(frames) <= self.n:
                # The first pass of this chunk was its only one, so the update comes right after it.
                self.update()
            else:
                # A replay makes anew what was about to be read; it leaves again.
                self.due = False
        for store, entries in zip(self.stores, own, strict=True):
            store.update(zip(frames, entries, strict=True))
        self.kept = [*self.kept, *frames]
        gone: list[int] = []
        while len(self.kept) > self.knobs.window - self.n:
            gone.append(self.kept.pop(self.knobs.sink))
        if gone and self.knobs.memory:
            self.due = True
            self.leaving = [{frame: store[frame] for frame in gone} for store in self.stores]
            if self.knobs.update == "clean":
                self.update()

    def update(self) -> None:
        """Let the queries read what is leaving; before any update they are the initial ones (spec 2.3)."""
        if self.knobs.update != "never":
            self.queries = [self.updated(group) for group in range(self.knobs.groups)]
        self.due, self.begun = False, True

    def updated(self, group: int) -> Tensor:
        """Queries [M, dim] of a group after the frames that are leaving."""
        layers, groups = self.config["num_layers"], self.knobs.groups
        sources = [layer for layer in range(layers) if layer * groups // layers == group]
        source = {"last": layers - 1, "middle": layers // 2, "group": sources[-1]}[self.knobs.source]
        read = dict(self.leaving[source])
        if self.knobs.sink_anchor:
            read = {frame: self.stores[source][frame] for frame in self.kept[: self.knobs.sink]} | read
        keys, values = (torch.stack(parts) for parts in zip(*read.values(), strict=True))
        if self.knobs.positions == "absolute":
            keys = rotate(keys, list(read), *self.grid)
        return self.encoded(group, self.queries[group], keys.flatten(0, 1), values.flatten(0, 1))

    def encoded(self, group: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Encoder, connector and gate: queries [M, dim] that read keys and values [N, heads, d] (spec 2.3)."""
        weights, at, eps = self.weights, self.prefix(group), self.config["eps"]
        heads = self.config["num_heads"]
        state = queries
        for layer in range(self.knobs.encoder_layers):
            name = f"{at}layers.{layer}"
            asked = linear(rms_norm(state, weights[f"{name}.norm1.weight"], eps), weights, f"{name}.q")
            asked = rms_norm(asked, weights[f"{name}.norm_q.weight"], eps).view(len(state), heads, -1)
            state = state + linear(attend(asked, keys, values), weights, f"{name}.o")
            inner = linear(rms_norm(state, weights[f"{name}.norm2.weight"], eps), weights, f"{name}.ffn.0")
            state = state + linear(gelu_tanh(inner), weights, f"{name}.ffn.2")
        if self.knobs.residual:
            return state
        inner = gelu_tanh(linear(state, weights, f"{at}connector_proj.0"))
        proposal = linear(inner, weights, f"{at}connector_proj.2")
        proposal = rms_norm(proposal, weights[f"{at}connector_proj.3.weight"], eps)
        if not self.knobs.gate:
            return proposal
        share = torch.sigmoid(linear(torch.cat((queries, proposal), -1), weights, f"{at}gate_linear"))
        return share * queries + (1 - share) * proposal
