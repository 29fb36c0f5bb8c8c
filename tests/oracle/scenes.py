"""Echo-Forcing over whole rollouts: slots that are really shifted and overwritten, and scenes (spec section 1).

Nothing is evicted from memory; the slots only name what a chunk sees. Lengths are in latent frames, n is a chunk's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, attend, linear, network, project_heads, token_grid, token_phases, turn
from .echo_forcing import decay, recall_frame, score
from .matching import Script
from .pool import Pool, Scene
from .slots import Chunk


@dataclass(frozen=True, kw_only=True)
class SceneKnobs:
    """Knobs of the strategy, by their names; defaults as released."""

    hierarchy: bool = True
    sink: int = 1
    anchors: int = 12
    rolling_cycle: int = 4
    compressed: int = 3
    recent: int = 3
    gate: str = "released"
    sharpness: float = 3.0
    amplitude: str = "released"
    fusion: str = "sum"
    max_reuse: int | None = 8
    history: int = 21
    compressed_rope: str = "slot"
    recall_frame: str = "score_weighted"
    base_weight: float = 0.9
    stride: int = 4
    candidates: int = 12
    smooth_source: str = "compress"
    smooth_weight: float = 1.0
    smooth_decay: tuple[float, float] = (0.80, 0.95)
    smooth_drop_after: int = 5
    smooth_jump: int = 0
    old_recent: int = 2
    hardcut_source: str = "compress"
    hardcut_weight: float = 0.8
    hardcut_decay: tuple[float, float] = (1.0, 1.0)
    hardcut_drop_after: int = 1
    hardcut_jump: int = 45
    recall_source: str = "compress"
    recall_weight: float = 1.0
    recall_decay: tuple[float, float] = (0.55, 0.90)
    recall_drop_after: int = 5
    recall_jump_min: int = 0
    recall_jump_max: int = 6
    matching: str = "similar"
    known: str = "script"
    recalls: tuple[int, ...] = ()
    pool: int = 64

    def of(self, kind: str, what: str) -> Any:
        """A knob of one kind of boundary."""
        return getattr(self, f"{kind}_{what}")


@dataclass(frozen=True)
class Slot:
    """What a slot of the window shows: a "frame" of the scene by its id, a frame that was "carried" into the scene by
    its number, or a place among the "chosen" tokens. again: put there by the anchors' roll, at full weight."""

    kind: str
    number: int
    again: bool = False


@dataclass
class Layer:
    """What one layer knows: all frames ever committed; of the scene, what was carried into it with a weight a token and
    its factor a chunk, un-rotated clean queries a chunk [T, N, heads, d], those of them that calibrate, the chosen
    tokens (entries and places), and how often each token (frame, place) was chosen."""

    frames: dict[int, FrameKV] = field(default_factory=dict)
    carried: list[FrameKV] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    rates: Tensor | None = None
    queries: list[Tensor] = field(default_factory=list)
    calibration: list[Tensor] = field(default_factory=list)
    chosen: list[FrameKV] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    uses: dict[tuple[int, int], int] = field(default_factory=dict)


class Scenes:
    """One video."""

    def __init__(
        self, weights: Weights, config: Config, knobs: SceneKnobs, n: int, script: Script | None = None
    ) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        self.window = knobs.anchors + knobs.compressed + knobs.recent + n
        self.anchors = knobs.anchors if knobs.hierarchy else knobs.sink
        self.compressed = knobs.compressed if knobs.hierarchy else 0
        self.period = knobs.rolling_cycle * n if knobs.hierarchy and knobs.anchors else 0
        self.pool = Pool(knobs.pool, knobs.recalls, script, knobs.matching, knobs.known)
        self.layers = [Layer() for _ in range(config["num_layers"])]
        self.start = self.chunks = self.jump = 0
        self.kind = ""
        self.rolled = False
        self.live: list[Slot] = []
        self.firsts: list[Slot] = []

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt = current, prompts[1]
        if current.switch is not None:
            self.switch(current.switch, prompts)
        if len(self.live) + self.n > self.window:
            self.roll()

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        grid = token_grid(self.config, latents.shape[2], latents.shape[3])
        owns: list[tuple[Tensor, Tensor, Tensor]] = []

        def attention(index: int, x: Tensor) -> Tensor:
            name, layer = f"blocks.{index}.self_attn", self.layers[index]
            query, key, value = (project_heads(self.weights, self.config, name, role, x) for role in "qkv")
            owns.append((query, key, value))
            if number == 0 and self.compressed and self.rolled:
                self.choose(layer, query.flatten(0, 1).mean(0))
            begin = len(self.live) + (self.jump if self.current.start == self.start else 0)
            own = [(begin + frame, *divmod(place, grid[1])) for frame in range(len(x)) for place in range(x.shape[1])]
            query, key = (turn(y.flatten(0, 1), token_phases(own, y.shape[-1])) for y in (query, key))
            keys, values = [key], [value.flatten(0, 1)]
            for index_of_slot, slot in enumerate(self.live):
                seen_key, seen_value = self.content(layer, slot)
                weight = layer.weights[slot.number] if slot.kind == "carried" and not slot.again else None
                places = self.places(layer, slot, index_of_slot, grid, len(seen_key))
                seen_key = turn(seen_key, token_phases(places, seen_key.shape[-1]))
                scale = 1.0 if weight is None else weight[:, None, None].to(x.dtype)
                keys.append(scale * seen_key)
                values.append(scale * seen_value)
            out = attend(query, torch.cat(keys), torch.cat(values))
            return linear(out, self.weights, f"{name}.o").view(x.shape)

        velocity = network(self.weights, self.config, latents, timestep, self.prompt, attention)
        if clean:
            self.commit(owns)
        return velocity

    def content(self, layer: Layer, slot: Slot) -> FrameKV:
        """Un-rotated keys and values [N, heads, d] of a slot."""
        if slot.kind == "frame":
            return layer.frames[slot.number]
        return layer.carried[slot.number] if slot.kind == "carried" else layer.chosen[slot.number]

    def places(
        self, layer: Layer, slot: Slot, index: int, grid: tuple[int, int], tokens: int
    ) -> list[tuple[int, int, int]]:
        """Time, row and column of a slot's tokens (spec 1.2)."""
        if slot.kind == "chosen" and self.knobs.compressed_rope == "time":
            return [(index, 0, 0)] * tokens
        where = list(range(tokens))
        if slot.kind == "chosen" and self.knobs.compressed_rope == "original":
            where = layer.places[slot.number]
        return [(index, *divmod(place, grid[1])) for place in where]

    def roll(self) -> None:
        """Shift anchors and recent frames until the chunk fits, and refill the anchors (spec 1.3, steps 1 to 3)."""
        out = len(self.live) + self.n - self.window
        clock = self.current.start - self.start + len(self.layers[0].carried)
        if not self.rolled:
            self.rolled = True
            self.firsts = self.live[: self.period]
            middle = self.live[self.anchors : self.anchors + self.compressed]
            for layer in self.layers:
                # Until enough tokens can be chosen, what stood in these slots stays.
                layer.chosen = [self.content(layer, slot) for slot in middle]
                layer.places = [list(range(len(key))) for key, _ in layer.chosen]
        anchors, tail = self.live[: self.anchors], self.live[self.anchors + self.compressed :]
        if self.period:
            for slot in range(self.anchors - out):
                anchors[slot] = anchors[slot + out]
            if clock >= self.window:
                # Blocks begin at whole chunks of the first frames.
                u = (clock - (self.window - self.period)) // self.n * self.n
                left = u % self.period
                if (u // self.period) % 2:
                    right = self.period - u % self.period
                    block = [self.firsts[right - 1 - i] for i in range(self.n)]
                else:
                    block = [self.firsts[left + i] for i in range(self.n)]
                anchors[self.anchors - self.n :] = [Slot(slot.kind, slot.number, True) for slot in block]
        chosen = [Slot("chosen", number) for number in range(self.compressed)]
        self.live = [*anchors, *chosen, *tail[out:]]

    def choose(self, layer: Layer, recent: Tensor) -> None:
        """Fill the chosen slots anew out of the history (spec 1.3, step 5). recent: mean query [heads, d] of now."""
        knobs, now = self.knobs, self.current.start
        history = list(range(self.start, now))[-max(knobs.history, self.window) :]
        history = history[: len(history) - knobs.recent]
        if not history or not layer.calibration:
            return
        queries = pairs(torch.cat([query.flatten(0, 1) for query in layer.calibration]))
        mean, size = queries.mean(0).tolist(), queries.abs().mean(0).tolist()
        count = recent.shape[-1] // 2
        turning = count - 2 * (count // 3)
        ahead = [2**power for power in range(self.window) if 2**power <= self.window]
        how = (knobs.gate, knobs.sharpness, knobs.amplitude, knobs.fusion)
        scored: list[tuple[float, int, int]] = []
        for frame in history:
            for place, key in enumerate(pairs(layer.frames[frame][0])):
                if knobs.max_reuse is None or layer.uses.get((frame, place), 0) < knobs.max_reuse:
                    around = (mean, size, pairs(recent).tolist(), now - frame, ahead, turning)
                    scored.append((score(key.tolist(), *around, *how), frame, place))
        tokens = len(layer.frames[now - 1][0])
        best = sorted(scored, reverse=True)[: self.compressed * tokens]
        for number, (frame, place) in enumerate(sorted((frame, place) for _, frame, place in best)):
            layer.uses[frame, place] = layer.uses.get((frame, place), 0) + 1
            slot, token = divmod(number, tokens)
            key, value = (x.clone() for x in layer.chosen[slot])
            key[token], value[token] = (x[place] for x in layer.frames[frame])
            layer.chosen[slot] = (key, value)
            layer.places[slot][token] = place

    def commit(self, owns: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """What the clean pass leaves behind (spec 1.3 and 1.4, order at a chunk's end)."""
        ids = self.current.ids
        calibrates = not self.rolled and len(self.live) + len(ids) <= self.window
        for layer, (query, key, value) in zip(self.layers, owns, strict=True):
            layer.frames.update(zip(ids, zip(key, value, strict=True), strict=True))
            layer.queries.append(query)
            if calibrates:
                layer.calibration.append(query)
        self.live = [*self.live, *(Slot("frame", frame) for frame in ids)]
        self.chunks += 1
        if not self.layers[0].carried:
            return
        fast, slow = self.knobs.of(self.kind, "decay")
        for layer in self.layers:
            if self.chunks == 1:
                new, old = (key.flatten(1).tolist() for key in (layer.frames[ids[0]][0], layer.carried[0][0]))
                layer.rates = torch.tensor(decay(new, old, slow, fast), dtype=torch.float64)
            assert layer.rates is not None
            layer.weights = [weight * layer.rates for weight in layer.weights]
        after = self.knobs.of(self.kind, "drop_after")
        # What is carried leaves at the latest when the window is full.
        if after and (self.chunks == after or len(self.live) + self.n > self.window):
            self.live = [slot for slot in self.live if slot.kind != "carried"]
            for layer in self.layers:
                layer.carried, layer.weights = [], []

    def switch(self, kind: str, prompts: tuple[Tensor, Tensor]) -> None:
        """Remember the scene that ends, and start the next one behind what is carried over (spec 1.4)."""
        knobs = self.knobs
        ended = list(range(self.start, self.current.start))
        candidates = [frame for frame in ended[: knobs.candidates] if (frame - self.start) % knobs.stride == 0]
        scene = Scene(prompts[0], {"select": [], "compress": []})
        for layer in self.layers:
            scene.frames["select"].append(layer.frames[self.start])
            mean = torch.cat([query.flatten(0, 1) for query in layer.queries]).mean(0).tolist()
            keys, values = ([layer.frames[frame][part].tolist() for frame in candidates] for part in (0, 1))
            made = [recall_frame(keys, x, mean, knobs.recall_frame, knobs.base_weight) for x in (keys, values)]
            key, value = (torch.tensor(x, dtype=layer.queries[0].dtype) for x in made)
            scene.frames["compress"].append((key, value))
        self.pool.add(scene)
        jumps = (knobs.recall_jump_min, knobs.recall_jump_max)
        if kind != "recall":
            jumps = (knobs.of(kind, "jump"),) * 2
        recalled, self.jump = self.pool.recalled(kind, prompts[1], *jumps)
        source = knobs.of(kind, "source")
        raw = ended[max(0, len(ended) - knobs.old_recent) :] if kind == "smooth" else []
        first = next(slot for slot in self.live if slot.kind != "chosen")
        for number, layer in enumerate(self.layers):
            carried = [layer.frames[frame] for frame in raw]
            if source == "resink":
                carried = [self.content(layer, first), *carried]
            elif source != "nothing":
                carried = [recalled.frames[source][number], *carried]
            ones = [torch.full((len(key),), knobs.of(kind, "weight"), dtype=torch.float64) for key, _ in carried]
            self.layers[number] = Layer(frames=layer.frames, carried=carried, weights=ones)
        self.start, self.chunks, self.kind, self.rolled = self.current.start, 0, kind, False
        self.live = [Slot("carried", number) for number in range(len(self.layers[0].carried))]


def pairs(x: Tensor) -> Tensor:
    """Channels 2i, 2i + 1 of [..., d] as one complex number."""
    return torch.complex(x[..., 0::2].double(), x[..., 1::2].double())
