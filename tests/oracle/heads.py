"""Dummy Forcing and Forcing-KV over whole rollouts: every head of every layer has a list of tokens that it sees."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .dit import Config, Weights, linear, network, project_heads, token_grid, token_phases, turn
from .slots import Chunk

REPLAYED = 12

Place = tuple[int, int, int]
"""Time, row and column."""
HeadFrame = tuple[int, list[Place], Tensor, Tensor]
"""A frame id, and of one head the places, un-rotated keys and values of its tokens, [N, head_dim]."""
Look = Callable[[int, list[list[HeadFrame]]], None]


class ByHead:
    """One video: what each head of each layer sees besides the chunk."""

    def __init__(self, weights: Weights, config: Config, n: int) -> None:
        self.weights, self.config, self.n = weights, config, n
        self.layers, self.heads = config["num_layers"], config["num_heads"]

    def seen(self, layer: int, head: int) -> list[HeadFrame]:
        """What a head sees besides the chunk."""
        raise NotImplementedError

    def commit(self, own: list[list[list[HeadFrame]]], start: int) -> None:
        """Take in the frames of a clean pass, by layer, head and frame."""
        raise NotImplementedError

    def switched(self, past: Tensor) -> None:
        """A prompt switch; the new prompt is active."""
        raise NotImplementedError

    def attended(self, layer: int, head: int, weights: Tensor, chunk: int) -> None:
        """See the attention [queries, keys] of a head in a clean pass; the last `chunk` frames are the chunk's."""

    def number(self, start: int) -> int:
        return math.ceil(start / self.n)

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt = current, prompts[1]
        self.grid = token_grid(self.config, past.shape[2], past.shape[3])
        if current.switch is not None:
            self.switched(past)

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        velocity, own = self.look(latents, timestep, self.current.ids, measure=clean)
        if clean:
            self.commit(own, self.current.start)
        return velocity

    def look(
        self, latents: Tensor, timestep: float, ids: Sequence[int], *, measure: bool = False
    ) -> tuple[Tensor, list[list[list[HeadFrame]]]]:
        """One pass over frames at their own numbers."""
        owns: list[list[list[HeadFrame]]] = []
        places = [[(t, r, c) for r in range(self.grid[0]) for c in range(self.grid[1])] for t in ids]
        flat = [place for frame in places for place in frame]

        def attention(layer: int, x: Tensor) -> Tensor:
            name = f"blocks.{layer}.self_attn"
            query, key, value = (project_heads(self.weights, self.config, name, role, x) for role in "qkv")
            mixed, kept = [], []
            for head in range(self.heads):
                own = [(frame, places[i], key[i, :, head], value[i, :, head]) for i, frame in enumerate(ids)]
                kept.append(own)
                seen = [*self.seen(layer, head), *own]
                keys = torch.cat([self.turned(k, at) for _, at, k, _ in seen])
                asked = self.turned(query[:, :, head].flatten(0, 1), flat)
                mass = torch.softmax(asked @ keys.T / math.sqrt(asked.shape[-1]), -1)
                if measure:
                    self.attended(layer, head, mass, len(ids))
                mixed.append(mass @ torch.cat([v for *_, v in seen]))
            owns.append(kept)
            return linear(torch.cat(mixed, -1), self.weights, f"{name}.o").view(x.shape)

        return network(self.weights, self.config, latents, timestep, self.prompt, attention), owns

    def turned(self, x: Tensor, places: Sequence[Place]) -> Tensor:
        """Tokens [N, head_dim] rotated to where they stand."""
        return turn(x[:, None], token_phases(tuple(places), x.shape[-1]))[:, 0]


@dataclass(frozen=True, kw_only=True)
class DummyKnobs:
    """Lengths in latent frames, `context` in chunks."""

    dummies: int | None
    context: int
    start: int
    sink: int
    on_switch: str


class Dummies(ByHead):
    """Dummy Forcing, deciding by all query rows."""

    def __init__(self, weights: Weights, config: Config, knobs: DummyKnobs, n: int) -> None:
        super().__init__(weights, config, n)
        self.knobs = knobs
        self.kept: list[list[list[HeadFrame]]] = [[[] for _ in range(self.heads)] for _ in range(self.layers)]
        self.classes: dict[tuple[int, int], str] = {}
        self.shares: dict[tuple[int, int], tuple[float, float]] = {}
        self.replaying = False

    def seen(self, layer: int, head: int) -> list[HeadFrame]:
        return [] if self.replaying else self.kept[layer][head]

    def attended(self, layer: int, head: int, weights: Tensor, chunk: int) -> None:
        if self.classes or self.number(self.current.start) != self.knobs.start:
            return
        tokens = self.grid[0] * self.grid[1]
        by_frame = weights.mean(0).view(-1, tokens).sum(-1).tolist()
        past = by_frame[:-chunk]
        counted = self.knobs.sink if self.knobs.start == 1 else self.n
        self.shares[layer, head] = sum(past[:counted]), sum(past[counted:])

    def commit(self, own: list[list[list[HeadFrame]]], start: int) -> None:
        latest = self.knobs.context * self.n
        for layer, heads in enumerate(own):
            for head, frames in enumerate(heads):
                kept, kind = self.kept[layer][head], self.classes.get((layer, head))
                if kind is None:
                    both = kept + frames
                    kept = both[: self.knobs.sink] + both[self.knobs.sink :][-latest:]
                elif kind == "mid":
                    kept = (kept + frames)[-latest:]
                elif kind == "dummy":
                    kept = frames[-1:]
                self.kept[layer][head] = kept
        if not self.classes and self.number(start) == self.knobs.start:
            self.decide()

    def decide(self) -> None:
        total = [sum(share[number] for share in self.shares.values()) for number in range(2)]
        parts = {
            head: [share[number] / total[number] if total[number] else 0.0 for number in range(2)]
            for head, share in self.shares.items()
        }
        dummies = len(parts) // 2 if self.knobs.dummies is None else self.knobs.dummies
        least = sorted(sorted(parts), key=lambda head: max(parts[head]))[:dummies]
        for head, (first, mid) in parts.items():
            kind = "dummy" if head in least else "mid" if first < mid else "first"
            self.classes[head] = kind
            layer, number = head
            kept = self.kept[layer][number]
            sink = self.knobs.sink
            self.kept[layer][number] = {"dummy": kept[-1:], "mid": kept[sink:], "first": kept[:sink]}[kind]

    def switched(self, past: Tensor) -> None:
        if self.knobs.on_switch == "keep":
            return
        start, sink, latest = self.current.start, self.knobs.sink, self.knobs.context * self.n
        ids = list(range(max(0, start - REPLAYED), start))
        self.replaying = True
        _, own = self.look(past[ids], 0.0, ids)
        self.replaying = False
        for layer, heads in enumerate(own):
            for head, frames in enumerate(heads):
                kind = self.classes.get((layer, head))
                late = self.number(ids[0]) > self.knobs.context - 1
                mid = frames[-latest:] if late else frames[sink:]
                whole = frames[:sink] + frames[sink:][-latest:]
                found = {None: whole, "first": frames[:sink], "mid": mid, "dummy": frames[-1:]}
                self.kept[layer][head] = found[kind]


@dataclass(frozen=True, kw_only=True)
class KindKnobs:
    """Lengths in latent frames; `static` says of each head of each layer whether it is."""

    static: tuple[tuple[bool, ...], ...]
    start: int
    sink: int
    static_context: int
    temporal_context: int
    dynamic_context: int
    patches: int | None
    on_switch: str
    replayed: str


@dataclass
class HeadMemory:
    """What one head keeps."""

    sink: list[HeadFrame] = field(default_factory=list)
    latest: list[HeadFrame] = field(default_factory=list)
    patches: list[HeadFrame] = field(default_factory=list)


class Kinds(ByHead):
    """Forcing-KV."""

    def __init__(self, weights: Weights, config: Config, knobs: KindKnobs, n: int) -> None:
        super().__init__(weights, config, n)
        self.knobs = knobs
        self.kept = [[HeadMemory() for _ in range(self.heads)] for _ in range(self.layers)]
        self.differ = self.replaying = False

    def seen(self, layer: int, head: int) -> list[HeadFrame]:
        kept = self.kept[layer][head]
        return [*kept.sink, *kept.patches, *kept.latest]

    def commit(self, own: list[list[list[HeadFrame]]], start: int) -> None:
        knobs = self.knobs
        chosen: list[int] | None = None
        for layer, heads in enumerate(own):
            if self.differ and layer:
                dynamic = [head for head in range(self.heads) if not knobs.static[layer][head]]
                if dynamic and self.kept[layer][dynamic[0]].latest and knobs.dynamic_context:
                    pairs = {head: [*self.kept[layer][head].latest, *heads[head]][: self.n + 1] for head in dynamic}
                    if chosen is None:
                        chosen = self.choose(list(pairs.values()))
                    for head, frames in pairs.items():
                        self.kept[layer][head].patches = self.cut(frames, chosen)
                for head, frames in enumerate(heads):
                    kept = self.kept[layer][head]
                    kept.latest = (kept.latest + frames)[-self.tail(layer, head) :]
                continue
            for head, frames in enumerate(heads):
                kept = self.kept[layer][head]
                for frame in frames:
                    old = frame[0] in [each[0] for each in kept.sink]
                    grows = len(kept.sink) < knobs.sink and not kept.latest and not self.differ and not old
                    (kept.sink if grows else kept.latest).append(frame)
                kept.latest = kept.latest[-max(knobs.static_context, knobs.temporal_context) :]
        if not self.differ and (self.replaying or self.number(start) >= knobs.start):
            self.differ = True
            for layer in range(1, self.layers):
                for head in range(self.heads):
                    kept = self.kept[layer][head]
                    kept.latest = kept.latest[-self.tail(layer, head) :]

    def tail(self, layer: int, head: int) -> int:
        return self.knobs.static_context if self.knobs.static[layer][head] else self.knobs.temporal_context

    def count(self) -> int:
        """Patches of a frame."""
        tokens = self.grid[0] * self.grid[1]
        return self.knobs.patches or max(n for n in range(1, 7) if tokens % n == 0)

    def choose(self, heads: Sequence[Sequence[HeadFrame]]) -> list[int]:
        """Numbers of the patches of all but the last frame that are least like the next frame's."""
        long = [
            torch.cat([self.turned(keys, at) for _, at, keys, _ in same], -1).double()
            for same in zip(*heads, strict=True)
        ]
        scores: list[float] = []
        for one, other in itertools.pairwise(long):
            alike = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(one, other, strict=True)]
            size = len(alike) // self.count()
            scores += [sum(alike[first : first + size]) / size for first in range(0, len(alike), size)]
        least = sorted(range(len(scores)), key=lambda patch: scores[patch])
        return sorted(least[: self.knobs.dynamic_context * self.count()])

    def cut(self, frames: Sequence[HeadFrame], chosen: Sequence[int]) -> list[HeadFrame]:
        """Patches as short frames of one head."""
        found = []
        for patch in chosen:
            frame, at, keys, values = frames[patch // self.count()]
            size = len(at) // self.count()
            part = slice(patch % self.count() * size, (patch % self.count() + 1) * size)
            found.append((frame, at[part], keys[part], values[part]))
        return found

    def switched(self, past: Tensor) -> None:
        knobs, start = self.knobs, self.current.start
        if knobs.on_switch == "keep":
            return
        longest = max(knobs.static_context, knobs.temporal_context, knobs.dynamic_context, knobs.sink, 1)
        again = start if knobs.replayed == "all" else min(longest, start)
        for heads in self.kept:
            for number, kept in enumerate(heads):
                heads[number] = HeadMemory(kept.sink if knobs.on_switch == "recache" else [])
        self.differ, self.replaying = False, True
        ids = list(range(start - again, start))
        _, own = self.look(past[ids], 0.0, ids)
        self.commit(own, ids[0])
        self.replaying = False
