"""Deep Forcing in plain loops: nothing committed is evicted, lists of tokens say what a chunk sees (spec section 1).

A token is named by its frame and its place in it. Lengths are in latent frames, n is a chunk's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, attend, linear, network, project_heads, token_grid, token_phases, turn
from .slots import Chunk

Token = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class DeepKnobs:
    """Knobs of the strategy, by their names."""

    window: int
    sink: int
    budget: int = 16
    recent: int = 4
    fusion: str = "sum"
    max_reuse: int | None = 7
    compression: bool = True
    positions: str = "released"


@dataclass
class Layer:
    """What one layer knows: keys and values of all frames, clean queries [N, heads, d] by frame, its chosen tokens, and
    how often each of them was chosen."""

    frames: dict[int, FrameKV] = field(default_factory=dict)
    queries: dict[int, Tensor] = field(default_factory=dict)
    chosen: list[Token] = field(default_factory=list)
    uses: dict[Token, int] = field(default_factory=dict)


class Deep:
    """One video."""

    def __init__(self, weights: Weights, config: Config, knobs: DeepKnobs, n: int) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        self.layers = [Layer() for _ in range(config["num_layers"])]
        self.local: list[int] = []
        self.sink: list[int] = []
        self.chosen_frames = 0
        self.moved = 0
        self.last_overflow: int | None = None
        self.compresses = False

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt = current, prompts[1]
        knobs = self.knobs
        cached = len(self.sink) + self.chosen_frames + len(self.local)
        self.compresses = knobs.compression and cached + self.n > knobs.window
        self.candidates: list[int] = []
        if self.compresses:
            self.chosen_frames = knobs.budget - knobs.sink - knobs.recent
            stays = knobs.recent - self.n
            self.candidates = self.local[: len(self.local) - stays]
            self.local = self.local[len(self.local) - stays :]
        elif cached + self.n > knobs.window:
            self.local = self.local[cached + self.n - knobs.window :]
        else:
            return
        if self.last_overflow is not None:
            self.moved += current.start - self.last_overflow
        elif knobs.compression:
            self.moved = 21 - knobs.budget
        self.last_overflow = current.start

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        grid = token_grid(self.config, latents.shape[2], latents.shape[3])
        owns: list[tuple[Tensor, Tensor, Tensor]] = []

        def attention(index: int, x: Tensor) -> Tensor:
            name, layer = f"blocks.{index}.self_attn", self.layers[index]
            query, key, value = (project_heads(self.weights, self.config, name, role, x) for role in "qkv")
            owns.append((query, key, value))
            if number == 0 and self.compresses:
                self.choose(layer, query, grid)
            tokens, places, start = self.seen(layer, x.shape[1], grid)
            own = [(start + frame, *divmod(place, grid[1])) for frame in range(len(x)) for place in range(x.shape[1])]
            query, key = (turn(y.flatten(0, 1), token_phases(own, y.shape[-1])) for y in (query, key))
            keys, values = [key], [value.flatten(0, 1)]
            if tokens:
                seen = torch.stack([layer.frames[frame][0][place] for frame, place in tokens])
                keys.append(turn(seen, token_phases(places, seen.shape[-1])))
                values.append(torch.stack([layer.frames[frame][1][place] for frame, place in tokens]))
            out = attend(query, torch.cat(keys), torch.cat(values))
            return linear(out, self.weights, f"{name}.o").view(x.shape)

        velocity = network(self.weights, self.config, latents, timestep, self.prompt, attention)
        if clean:
            self.commit(owns)
        return velocity

    def seen(
        self, layer: Layer, tokens: int, grid: tuple[int, int]
    ) -> tuple[list[Token], list[tuple[int, int, int]], int]:
        """Tokens of the context, time, row and column of each, and the time of the chunk."""
        whole = [[(frame, place) for place in range(tokens)] for frame in (*self.sink, *self.local)]
        sink, local = whole[: len(self.sink)], whole[len(self.sink) :]
        packed = [layer.chosen[first : first + tokens] for first in range(0, len(layer.chosen), tokens)]
        slots = [*sink, *packed, *local]
        found, places = [], []
        for slot, members in enumerate(slots):
            for frame, place in members:
                time = frame + self.moved if slot < len(sink) else frame
                if self.knobs.positions == "contiguous":
                    time = slot
                found.append((frame, place))
                places.append((time, *divmod(place, grid[1])))
        return found, places, len(slots) if self.knobs.positions == "contiguous" else self.current.start

    def choose(self, layer: Layer, query: Tensor, grid: tuple[int, int]) -> None:
        """Choose anew among the tokens chosen before and those of the frames that leave."""
        knobs, start = self.knobs, self.current.start
        tokens = query.shape[1]
        count = self.chosen_frames * tokens
        asking = {frame: layer.queries[frame] for frame in range(start - (knobs.recent - self.n), start)}
        asking |= {start + frame: query[frame] for frame in range(len(query))}
        queries = [
            self.turned(asked[place], frame, place, grid) for frame, asked in asking.items() for place in range(tokens)
        ]
        scored: list[tuple[float, Token]] = []
        for frame, place in [*layer.chosen, *((frame, place) for frame in self.candidates for place in range(tokens))]:
            if knobs.max_reuse is not None and layer.uses.get((frame, place), 0) >= knobs.max_reuse:
                continue
            key = self.turned(layer.frames[frame][0][place], frame, place, grid)
            products = [float((asked * key).sum()) for asked in queries]
            together = sum(products) if knobs.fusion == "sum" else max(products)
            scored.append((together / key.shape[0] / math.sqrt(key.shape[1]), (frame, place)))
        best = sorted(scored, reverse=True)[:count]
        layer.chosen = sorted(token for _, token in best)
        layer.uses = {token: layer.uses.get(token, 0) + 1 for token in layer.chosen}

    def turned(self, x: Tensor, frame: int, place: int, grid: tuple[int, int]) -> Tensor:
        """One key or query [heads, d] at its own place, in float64."""
        return turn(x.double()[None], token_phases([(frame, *divmod(place, grid[1]))], x.shape[-1]))[0]

    def commit(self, owns: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """What the clean pass leaves behind."""
        for frame in self.current.ids:
            (self.sink if frame < self.knobs.sink else self.local).append(frame)
        for layer, (query, key, value) in zip(self.layers, owns, strict=True):
            layer.frames.update(zip(self.current.ids, zip(key, value, strict=True), strict=True))
            layer.queries.update(zip(self.current.ids, query, strict=True))
