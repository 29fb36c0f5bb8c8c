"""Echo-Forcing in plain loops, as its paper and released code are described: one token, head and pair at a time.

Slots are a buffer that is really shifted and overwritten; scores are sums of cosines; nothing is shared or cached.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

COMPRESSED = "chosen"
Slot = int | str | None


def windows(
    chunks: int, anchors: int, compressed: int, recent: int, cycle: int, carried: int, drop_after: int, start: int
) -> list[list[Slot]]:
    """What each chunk of a scene sees: a frame id a slot, its own frames left out. The scene starts at frame `start`
    behind `carried` frames, ids -1, -2, ..., which leave after `drop_after` chunks (0: never)."""
    n = 3
    size = anchors + compressed + recent + n
    live: list[Slot] = [None] * size
    pristine: list[Slot] = [None] * size
    for slot in range(carried):
        live[slot] = pristine[slot] = -1 - slot
    end, offset, seen = carried, carried, []
    for chunk in range(chunks):
        first = start + chunk * n
        clock = first - start + offset
        if end + n <= size:
            own = list(range(end, end + n))
            end += n
        else:
            out = n + end - size
            if cycle and anchors:
                live[0 : anchors - out] = live[out:anchors]
                if clock >= size:
                    period = n * cycle
                    u = clock - (size - period)
                    if (u // period) % 2 == 1:
                        right = period - u % period
                        block = [pristine[right - 1], pristine[right - 2], pristine[right - 3]]
                    else:
                        left = u % period
                        block = [pristine[left], pristine[left + 1], pristine[left + 2]]
                    live[anchors - n : anchors] = block
            gap = anchors + compressed
            live[gap : gap + recent] = live[gap + n : gap + n + recent]
            for slot in range(anchors, gap):
                live[slot] = COMPRESSED
            own = list(range(size - n, size))
            end = size
        seen.append([live[slot] for slot in range(end - n)])
        for place, slot in enumerate(own):
            live[slot] = first + place
            if clock + n <= size:
                pristine[slot] = first + place
        if drop_after and chunk + 1 == drop_after:
            live = live[offset:] + [None] * offset
            pristine = pristine[offset:] + [None] * offset
            end -= offset
            offset = 0
    return seen


Pairs = Sequence[Sequence[complex]]  # [heads][pairs]


def score(
    key: Pairs,
    mean: Pairs,
    size: Sequence[Sequence[float]],
    recent: Pairs,
    distance: int,
    ahead: Sequence[int],
    turning: int,
    gate: str,
    sharpness: float,
    amplitude: str,
    fusion: str,
) -> float:
    """Score of one token, `distance` frames before the next one that comes."""
    flat = [x for head in mean for x in head]
    flat_recent = [x for head in recent for x in head]
    inner = sum((a * b.conjugate()).real for a, b in zip(flat, flat_recent, strict=True))
    cosine = inner / math.sqrt(sum(abs(a) ** 2 for a in flat)) / math.sqrt(sum(abs(b) ** 2 for b in flat_recent))
    opened = {"released": math.exp(-sharpness * (1 - cosine)), "paper": min(max(cosine, 0.0), 1.0), "off": 1.0}[gate]
    each = []
    for head, query, magnitude in zip(key, mean, size, strict=True):
        extra = sum((m - abs(q)) * abs(k) for m, q, k in zip(magnitude, query, head, strict=True))
        extra = {"released": extra, "paper": -extra, "off": 0.0}[amplitude]
        for offset in ahead:
            base = 0.0
            for pair, (q, k) in enumerate(zip(query, head, strict=True)):
                frequency = 10000 ** (-pair / turning) if pair < turning else 0.0
                phase = cmath.phase(q * k.conjugate()) + frequency * (distance + offset)
                base += abs(q) * abs(k) * math.cos(phase)
            each.append(base + opened * extra)
    return max(each) if fusion == "max" else sum(each) / len(each)


def recall_frame(
    keys: Sequence[Sequence[Sequence[Sequence[float]]]],
    entries: Sequence[Sequence[Sequence[Sequence[float]]]],
    query: Sequence[Sequence[float]],
    how: str,
    base: float,
) -> list[list[list[float]]]:
    """Candidates [F][S][heads][channels] to one frame [S][heads][channels]: `entries` mixed by the scores of `keys`."""
    made = []
    for place in range(len(keys[0])):
        scores = []
        for frame in keys:
            dots = [sum(a * b for a, b in zip(k, q, strict=True)) for k, q in zip(frame[place], query, strict=True)]
            scores.append(sum(dots) / len(dots))
        if how == "token_select":
            shares, kept = [float(number == scores.index(max(scores))) for number in range(len(scores))], 0.0
        else:
            top = max(scores)
            shares, kept = [math.exp(x - top) for x in scores], base
        shares = [x / sum(shares) for x in shares]
        made.append(
            [
                [
                    kept * entries[0][place][head][channel]
                    + (1 - kept)
                    * sum(share * frame[place][head][channel] for share, frame in zip(shares, entries, strict=True))
                    for channel in range(len(query[0]))
                ]
                for head in range(len(query))
            ]
        )
    return made


def decay(new: Sequence[Sequence[float]], old: Sequence[Sequence[float]], slow: float, fast: float) -> list[float]:
    """Factor of every token; tokens are flat keys."""
    differences = []
    for a, b in zip(new, old, strict=True):
        inner = sum(x * y for x, y in zip(a, b, strict=True))
        differences.append(1 - inner / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)))
    low, high = min(differences), max(differences)
    if high - low < 1e-6:
        return [slow] * len(differences)
    return [slow - (slow - fast) * (d - low) / (high - low) for d in differences]
