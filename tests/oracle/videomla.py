"""VideoMLA in plain loops, as its paper defines it: one query, key and head at a time, every frame worked out anew.

Weights by name: down_kv, down_q, norm_kv, norm_q, up_k, up_v, up_q, rope_k, rope_q, o (out x in, as in the paper).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Vector = Sequence[float]
Matrix = Sequence[Vector]


@dataclass(frozen=True)
class Shape:
    """heads, channels of a head that positions do not turn, and pairs of (time, row, column) that they do; `head` is
    the size of the dense head whose frequencies are used."""

    heads: int
    nope: int
    pairs: tuple[int, int, int]
    head: int
    normed: bool


def visible(frame_count: int, window: int, sink: int, chunk: int, start: int) -> list[int]:
    """Past frames that a chunk at `start` sees: the first ones and the latest, all while they fit."""
    past = list(range(start))
    while len(past) > window - chunk:
        del past[sink]
    return past


def attend(
    weights: Mapping[str, Matrix],
    shape: Shape,
    frames: Sequence[Sequence[Vector]],
    grid: tuple[int, int],
    seen: Sequence[int],
    own: Sequence[int],
) -> list[list[float]]:
    """Outputs of the tokens of the `own` frames, which see themselves and the frames `seen`, at ids 0, 1, 2, ..."""
    places = {frame: slot for slot, frame in enumerate([*seen, *own])}
    tokens = [(frame, place) for frame in [*seen, *own] for place in range(grid[0] * grid[1])]
    outputs = []
    for asking in own:
        for asked in range(grid[0] * grid[1]):
            x = frames[asking][asked]
            latent = normed(times(weights["down_q"], x), weights["norm_q"][0], shape.normed)
            query, turned = times(weights["up_q"], latent), times(weights["rope_q"], latent)
            joined: list[float] = []
            for head in range(shape.heads):
                scores, values = [], []
                for frame, place in tokens:
                    y = frames[frame][place]
                    content = normed(times(weights["down_kv"], y), weights["norm_kv"][0], shape.normed)
                    key = part(times(weights["up_k"], content), head, shape.nope)
                    score = dot(part(query, head, shape.nope), key)
                    rope = 2 * sum(shape.pairs)
                    q = turn(part(turned, head, rope), shape, (places[asking], *divmod(asked, grid[1])))
                    k = turn(times(weights["rope_k"], y), shape, (places[frame], *divmod(place, grid[1])))
                    score += sum((a.conjugate() * b).real for a, b in zip(q, k, strict=True))
                    scores.append(score / math.sqrt(shape.head))
                    values.append(part(times(weights["up_v"], content), head, shape.head))
                top = max(scores)
                shares = [math.exp(score - top) for score in scores]
                whole = sum(shares)
                joined += [
                    sum(s * v[channel] for s, v in zip(shares, values, strict=True)) / whole
                    for channel in range(shape.head)
                ]
            outputs.append(times(weights["o"], joined))
    return outputs


def turn(vector: Vector, shape: Shape, place: tuple[int, int, int]) -> list[complex]:
    """Neighbouring channels as complex numbers, turned by where they are."""
    dense = shape.head // 2
    table = (dense - 2 * (dense // 3), dense // 3, dense // 3)
    angles = [
        place[axis] * 10000.0 ** (-number / table[axis]) for axis in range(3) for number in range(shape.pairs[axis])
    ]
    return [complex(vector[2 * i], vector[2 * i + 1]) * cmath.exp(1j * angle) for i, angle in enumerate(angles)]


def normed(vector: Vector, gain: Vector, on: bool) -> list[float]:
    """RMSNorm, or nothing."""
    if not on:
        return list(vector)
    size = math.sqrt(sum(x * x for x in vector) / len(vector) + 1e-6)
    return [x / size * g for x, g in zip(vector, gain, strict=True)]


def times(matrix: Matrix, vector: Vector) -> list[float]:
    return [dot(row, vector) for row in matrix]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def part(vector: Vector, number: int, size: int) -> Vector:
    """A head's channels."""
    return vector[number * size : (number + 1) * size]
