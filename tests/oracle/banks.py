"""MemFlow over whole rollouts: a window behind a sink, and a bank of frames that the prompt chooses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .dit import (
    Config,
    FrameKV,
    Weights,
    embed_text,
    linear,
    network,
    project_heads,
    rotate,
    token_grid,
)
from .slots import Chunk

ACTIVE = 3
"""Frames of sink and bank that a head may see with sparse memory activation."""

Frame = tuple[int, FrameKV]
"""A frame id and what is cached of the frame."""


@dataclass(frozen=True, kw_only=True)
class BankKnobs:
    """All lengths in latent frames; the window counts sink and current chunk, not the bank."""

    window: int
    sink: int
    bank: int
    interval: int
    pipeline: str
    retake: bool
    sma: bool
    switch_query: str
    on_switch: str


class Banks:
    """One video: windows and banks of all layers, in lists."""

    def __init__(self, weights: Weights, config: Config, knobs: BankKnobs, n: int) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        layers = config["num_layers"]
        self.windows: list[list[Frame]] = [[] for _ in range(layers)]
        self.banks: list[list[Frame]] = [[] for _ in range(layers)]
        self.pending: list[Frame | None] = [None] * layers
        self.chunks = self.entries = 0
        self.taken = False

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt, knobs = current, prompts[1], self.knobs
        self.grid = token_grid(self.config, past.shape[2], past.shape[3])
        if current.switch is None:
            self.update(blind=False)
            return
        blind = knobs.switch_query == "released"
        self.update(blind=blind)
        if knobs.on_switch != "keep":
            self.replay(past)
        if blind:
            # The released code does it twice, which changes nothing.
            self.update(blind=True)

    def update(self, *, blind: bool) -> None:
        """The bank takes the pending frame; once it is full, the prompt says which of its frames stay."""
        full = self.entries > self.knobs.bank
        if not self.chunks or (full and self.taken and not self.knobs.retake):
            return
        for layer, bank in enumerate(self.banks):
            pending = self.pending[layer]
            assert pending is not None
            if not full:
                bank[self.entries - 1 : self.entries] = [pending]
                continue
            order = list(range(len(bank)))
            if not blind:
                scores = self.scores(layer, bank)
                order.sort(key=lambda slot: -scores[slot])
            self.banks[layer] = [bank[slot] for slot in order[: self.knobs.bank - 1]] + [pending]
        self.taken = True

    def scores(self, layer: int, bank: Sequence[Frame]) -> list[float]:
        """The mean product of each frame's turned keys with the prompt's, over text rows, heads and tokens."""
        text = embed_text(self.weights, self.config, self.prompt)
        asked = project_heads(self.weights, self.config, f"blocks.{layer}.cross_attn", "k", text).double()
        found = []
        for frame, (keys, _) in bank:
            turned = rotate(keys[None], [frame], *self.grid)[0].double()
            products = torch.einsum("rhd,nhd->rhn", asked, turned)
            found.append(float(products.mean()) / math.sqrt(keys.shape[-1]))
        return found

    def replay(self, past: Tensor) -> None:
        """The latest frames are cached anew under the new prompt, in one pass."""
        start, window, sink = self.current.start, self.knobs.window, self.knobs.sink
        moved = start > window
        for layer, kept in enumerate(self.windows):
            self.windows[layer] = kept[:sink] if moved else []
            if moved and self.knobs.on_switch == "zero_sink":
                self.windows[layer] = [(f, (torch.zeros_like(k), torch.zeros_like(v))) for f, (k, v) in kept[:sink]]
        frames = list(range(start - (window - sink if moved else min(window, start)), start))
        _, own = self.look(past[frames], 0.0, frames)
        self.keep(own, frames)

    def keep(self, own: Sequence[Sequence[FrameKV]], frames: Sequence[int]) -> None:
        """Put frames into the windows; the oldest ones behind the sink leave until the next chunk fits."""
        for kept, entries in zip(self.windows, own, strict=True):
            kept.extend(zip(frames, entries, strict=True))
            while len(kept) > self.knobs.window - self.n:
                del kept[self.knobs.sink]

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        velocity, own = self.look(latents, timestep, self.current.ids)
        if clean:
            self.keep(own, self.current.ids)
            if self.knobs.pipeline == "single" or self.chunks % self.knobs.interval == 0:
                self.pending = [(self.current.start, entries[0]) for entries in own]
                self.taken = False
            self.entries = self.chunks // self.knobs.interval + 1
            self.chunks += 1
        return velocity

    def look(self, latents: Tensor, timestep: float, ids: Sequence[int]) -> tuple[Tensor, list[list[FrameKV]]]:
        """One pass over the frames `ids`, each at its own number."""
        owns: list[list[FrameKV]] = []

        def attention(layer: int, x: Tensor) -> Tensor:
            name = f"blocks.{layer}.self_attn"
            query, key, value = (project_heads(self.weights, self.config, name, role, x) for role in "qkv")
            owns.append(list(zip(key, value, strict=True)))
            query = rotate(query, ids, *self.grid)
            sink, local = self.windows[layer][: self.knobs.sink], self.windows[layer][self.knobs.sink :]
            early = self.turned([*sink, *self.banks[layer]])
            late = self.turned([*local, *zip(ids, owns[-1], strict=True)])
            heads = []
            for head in range(query.shape[2]):
                seen = early if not self.knobs.sma else self.active(early, query, head)
                keys = torch.cat([keys[:, head] for keys, _ in [*seen, *late]])
                values = torch.cat([values[:, head] for _, values in [*seen, *late]])
                asked = query[:, :, head].flatten(0, 1)
                scores = asked @ keys.T / math.sqrt(asked.shape[-1])
                heads.append(torch.softmax(scores, -1) @ values)
            return linear(torch.cat(heads, -1), self.weights, f"{name}.o").view(x.shape)

        return network(self.weights, self.config, latents, timestep, self.prompt, attention), owns

    def turned(self, frames: Sequence[Frame]) -> list[FrameKV]:
        """Entries with keys at their frames' numbers."""
        return [(rotate(keys[None], [frame], *self.grid)[0], values) for frame, (keys, values) in frames]

    def active(self, early: Sequence[FrameKV], query: Tensor, head: int) -> list[FrameKV]:
        """The frames whose mean key fits the mean query of a head best."""
        asked = query[:, :, head].double().flatten(0, 1).mean(0)
        scores = [float(keys[:, head].double().mean(0) @ asked) for keys, _ in early]
        best = sorted(range(len(early)), key=lambda slot: -scores[slot])[:ACTIVE]
        return [early[slot] for slot in sorted(best)]
