"""Windows of frames in fewer bits: every number of a committed frame is rounded by itself, in plain loops."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, forward, token_grid
from .knobs import parse_knobs
from .memories import replay_before
from .slots import AbsorbingSlot, Chunk, FrameSlot, Slot, View, slot_kv
from .windowed import Store, Windowed

PACKED = ("policy", "store", "exact_sink", "exact_recent")
"""Knobs that are not the policy's."""


def short(x: float) -> float:
    """The number as bfloat16 has it."""
    return float(torch.tensor(x, dtype=torch.float64).to(torch.bfloat16))


def scale(x: float) -> float:
    """A step of bfloat16 that is no smaller than x."""
    return max(short(x * (1 + 2**-7)), 2.0**-126)


def below(x: float) -> float:
    """A number of bfloat16 that is no larger than x."""
    return short(x) if short(x) <= x else short(x - abs(x) * 2**-7)


def integers(group: Sequence[float], most: int) -> list[float]:
    """A group of numbers on a grid of most + 1 points between the smallest and the largest one."""
    least = below(min(group))
    step = scale((max(group) - least) / most)
    return [least + step * min(most, max(0, round((x - least) / step))) for x in group]


def eighths(x: float) -> float:
    """The nearest number with a sign, four bits of exponent and three of fraction, at most 448."""
    if x == 0:
        return 0.0
    exponent = max(-6, math.frexp(abs(x))[1] - 1)
    grid = 2.0 ** (exponent - 3)
    return math.copysign(min(448.0, round(abs(x) / grid) * grid), x)


def floats(group: Sequence[float]) -> list[float]:
    """A group of numbers as 8-bit floats, of which the largest one is about 448."""
    step = scale(max(abs(x) for x in group) / 448)
    return [step * eighths(max(-448.0, min(448.0, x / step))) for x in group]


def rounded(group: Sequence[float], store: str) -> list[float]:
    """A group of numbers as they are read again."""
    return floats(group) if store == "fp8" else integers(group, {"int8": 255, "int4": 15}[store])


def packed(frame: FrameKV, store: str) -> FrameKV:
    """Keys and values [N, heads, head_dim]: a scale a channel of the keys, and a head of each token of the values."""
    keys, values = frame[0].clone(), frame[1].clone()
    tokens, heads, channels = keys.shape
    for head in range(heads):
        for channel in range(channels):
            keys[:, head, channel] = torch.tensor(rounded(keys[:, head, channel].tolist(), store), dtype=keys.dtype)
        for token in range(tokens):
            values[token, head] = torch.tensor(rounded(values[token, head].tolist(), store), dtype=values.dtype)
    return keys, values


def whole(slot: Slot, view: View) -> FrameSlot:
    """The frame that a slot holds as it was committed, and a frame that does not exist for a slot of averages.

    A sink is whole frames until something leaves; then all its frames are averages at once.
    """
    averages = any(isinstance(each, AbsorbingSlot) and each.absorbed for each in view.slots)
    if isinstance(slot, AbsorbingSlot) and not averages:
        return FrameSlot(slot.frame)
    return slot if isinstance(slot, FrameSlot) else FrameSlot(-1)


class Packed(Windowed):
    """A window whose frames are rounded when they are committed; some are seen as they were."""

    def __init__(self, weights: Weights, config: Config, knobs: Mapping[str, Any], n: int) -> None:
        inner = {name: value for name, value in knobs.items() if name not in PACKED}
        super().__init__(weights, config, parse_knobs(knobs["policy"], inner, n), n)
        self.kind, self.shows_recent = knobs["store"], knobs["exact_recent"]
        self.sink, self.first = knobs["sink"] if knobs["exact_sink"] else 0, 0
        self.recent: Store = [{} for _ in range(config["num_layers"])]

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        replay = replay_before(self.knobs, self.n, self.history, current)
        if replay is not None and not replay.view.slots:
            self.first = replay.frames[0]
        super().enter(current, past, prompts)

    def commit(self, latents: Tensor, view: View, frames: Sequence[int], generation: int) -> None:
        _, chunk_kv = self.look(latents, 0.0, view)
        for layer_store, recent, frame_kvs in zip(self.store, self.recent, chunk_kv, strict=True):
            recent.clear()
            for frame, frame_kv in zip(frames, frame_kvs, strict=True):
                slot = FrameSlot(frame, generation)
                in_sink = frame < self.first + self.sink
                layer_store[slot] = frame_kv if in_sink else packed(frame_kv, self.kind)
                if self.shows_recent and frame > frames[-1] - self.n:
                    recent[slot] = frame_kv

    def look(self, latents: Tensor, timestep: float, view: View) -> tuple[Tensor, list[list[FrameKV]]]:
        rows, columns = token_grid(self.config, latents.shape[2], latents.shape[3])
        head_dim = self.config["dim"] // self.config["num_heads"]
        blank = torch.zeros(rows * columns, self.config["num_heads"], head_dim, dtype=latents.dtype)
        context = [
            [recent.get(whole(slot, view)) or slot_kv(slot, layer_store, blank) for slot in view.slots]
            for layer_store, recent in zip(self.store, self.recent, strict=True)
        ]
        seen = (view.current_positions, context, view.positions)
        return forward(self.weights, self.config, latents, timestep, self.prompt, *seen)
