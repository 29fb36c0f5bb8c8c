"""Echo-Infinity in plain loops, as its paper and released code are described."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Vector = Sequence[float]
Matrix = Sequence[Vector]


@dataclass(frozen=True)
class View:
    """What a chunk's passes attend to: kept frames, their temporal ids, those of the memory frames, and the chunk's
    own; how many evictions the memory has seen in the first pass (None without a memory), and in the later ones."""

    frames: list[int]
    positions: list[int]
    own: list[int]
    first: tuple[list[int], int] | None
    later: tuple[list[int], int] | None


def views(chunks: int, n: int, window: int, sink: int, memory: int, reach: int | None, update: str) -> list[View]:
    """Every chunk of a rollout. reach: None for absolute positions."""
    found: list[View] = []
    kept: list[int] = []
    evictions = pending = 0
    for chunk in range(chunks):
        start = chunk * n
        last = start + n - 1 if reach is None else min(start + n - 1, reach - 1)
        own = list(range(last - n + 1, last + 1))
        heads, local = kept[:sink], kept[sink:]
        begin = own[0] - len(local)
        head_ids = heads if reach is None else list(range(len(heads)))
        behind = list(range(begin - memory, begin))
        now, then = evictions, evictions + pending
        found.append(
            View(
                frames=heads + local,
                positions=head_ids + list(range(begin, own[0])),
                own=own,
                first=(behind, now) if now else None,
                later=(behind, then) if then else None,
            )
        )
        evictions, pending = then, 0
        kept = kept + list(range(start, start + n))
        gone = 0
        while len(kept) > window - n:
            del kept[sink]
            gone = 1
        if memory and gone:
            if update == "clean":
                evictions += 1
            else:
                pending = 1
    return found


def updated(
    weights: Mapping[str, Matrix],
    heads: int,
    queries: Matrix,
    keys: Sequence[Matrix],
    values: Sequence[Matrix],
    layers: int,
) -> list[list[float]]:
    """Queries [M][D] after tokens with keys and values [N][heads][channels] have left. Names as in the checkpoint;
    biases and gains are matrices of one row."""
    outputs = []
    for query in queries:
        state = list(query)
        for layer in range(layers):
            at = f"layers.{layer}"
            asked = linear(weights, f"{at}.q", normed(state, weights[f"{at}.norm1.weight"][0]))
            asked = normed(asked, weights[f"{at}.norm_q.weight"][0])
            size = len(asked) // heads
            read: list[float] = []
            for head in range(heads):
                part = asked[head * size : (head + 1) * size]
                scores = [dot(part, key[head]) / math.sqrt(size) for key in keys]
                shares = [math.exp(score - max(scores)) for score in scores]
                read += [
                    sum(share * value[head][channel] for share, value in zip(shares, values, strict=True)) / sum(shares)
                    for channel in range(size)
                ]
            state = add(state, linear(weights, f"{at}.o", read))
            inner = [gelu(x) for x in linear(weights, f"{at}.ffn.0", normed(state, weights[f"{at}.norm2.weight"][0]))]
            state = add(state, linear(weights, f"{at}.ffn.2", inner))
        inner = [gelu(x) for x in linear(weights, "connector_proj.0", state)]
        proposal = normed(linear(weights, "connector_proj.2", inner), weights["connector_proj.3.weight"][0])
        gate = [1 / (1 + math.exp(-x)) for x in linear(weights, "gate_linear", [*query, *proposal])]
        outputs.append([g * q + (1 - g) * p for g, q, p in zip(gate, query, proposal, strict=True)])
    return outputs


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def linear(weights: Mapping[str, Matrix], name: str, x: Vector) -> list[float]:
    bias = weights[f"{name}.bias"][0]
    return [dot(row, x) + b for row, b in zip(weights[f"{name}.weight"], bias, strict=True)]


def normed(x: Vector, gain: Vector) -> list[float]:
    size = math.sqrt(sum(v * v for v in x) / len(x) + 1e-6)
    return [v / size * g for v, g in zip(x, gain, strict=True)]


def add(a: Vector, b: Vector) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
