"""Random arrangements: contexts like those of memories, of published ones and of others.

A policy is drawn for every clip and used for all of its chunks, as in a rollout. None equals a strategy; each combines
mechanisms of strategies: a sink and a window, frames with gaps between them, averages of evicted frames, frames that
share one temporal id, tokens chosen from several frames, scaled and rounded entries, a flush or a replay at a switch, a
jump of positions at a new scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.training.contexts.arranged import Arrangement

Random = np.random.Generator
WHOLE = 0.6
"""Least share of a frame's tokens in a context with which the frame counts as visible."""

PLAIN = 0.25
"""Share of the clips whose context is the latest frames, unchanged, as many as there is room for."""

FEW = 6
"""Largest number of slots in a narrow context."""


@dataclass(frozen=True)
class Policy:
    """The rules by which the contexts of one clip are made; lengths in latent frames.

    sink: first frames that stay. recent: latest frames. scattered: share of the frames between that stay. averages:
    slots that average what left, at these rates; pooled: over the tokens too. retrieved: frames from what left that
    share temporal id 0. mixed: slots of tokens from two frames of what left. dropped: share of the older slots' tokens
    that are missing. scale: of the older slots. relative: ids are slots. shift: added to all ids. gap: ids between
    older and recent slots. nearest: no older slot is farther than this; 0 for no limit. jump: ids that a chunk which
    begins a scene is moved ahead by. flush: frames before a switch that stay behind the sink; -1 keeps all. replay: the
    switch from which on everything is remembered under its prompt; -1 for none. noise: on keys and values. grouped:
    some heads see the latest frames only, some the sink too, some nothing.
    """

    sink: int = 0
    recent: int = 9
    scattered: float = 0.0
    averages: tuple[float, ...] = ()
    pooled: bool = False
    retrieved: int = 0
    mixed: int = 0
    dropped: float = 0.0
    scale: float = 1.0
    relative: bool = True
    shift: int = 0
    gap: int = 0
    nearest: int = 0
    jump: int = 0
    flush: int = -1
    replay: int = -1
    noise: float = 0.0
    grouped: bool = False


def draw_policy(rng: Random, slots: int, switches: list[int], narrow: float = 0.0) -> Policy:
    """Return a random policy whose contexts have at most `slots` slots.

    switches: chunks that begin with a new prompt. narrow: probability of a context of at most `FEW` slots, half of
    which are split among groups of heads.
    """

    def upto(most: float, chance: float) -> float:
        return float(rng.uniform(0, most)) if rng.random() < chance else 0.0

    scarce = narrow > 0 and rng.random() < narrow
    if not scarce and rng.random() < PLAIN:
        return Policy(recent=slots, relative=bool(rng.random() < 0.5))
    room = int(rng.integers(3, (FEW if scarce else slots) + 1))
    sink = int(rng.integers(0, min(6, room - 2) + 1)) if rng.random() < 0.6 else 0
    extras = min(room - sink - 2, int(rng.integers(1, 4))) if rng.random() < 0.5 else 0
    kind = rng.choice(["averages", "retrieved", "mixed"]) if extras > 0 else ""
    averages = tuple(float(rng.choice([0.01, 0.1, 0.3])) for _ in range(min(extras, 2))) if kind == "averages" else ()
    used = len(averages) or max(extras, 0)
    recent = room - sink - used
    scattered = 0.0
    if recent > 4 and rng.random() < 0.25:
        scattered, recent = float(rng.uniform(0.2, 0.9)), int(rng.integers(2, 6))
    return Policy(
        sink=sink,
        recent=recent,
        scattered=scattered,
        averages=averages,
        pooled=bool(rng.random() < 0.6),
        retrieved=extras if kind == "retrieved" else 0,
        mixed=extras if kind == "mixed" else 0,
        dropped=upto(0.6, 0.15),
        scale=1 - upto(0.5, 0.1),
        relative=bool(rng.random() < 0.6),
        shift=int(upto(60, 0.15)),
        gap=int(upto(24, 0.1)),
        nearest=int(rng.integers(6, 21)) if rng.random() < 0.1 else 0,
        jump=int(upto(46, 0.2)),
        flush=int(rng.integers(2, 5)) if rng.random() < 0.15 else -1,
        replay=int(rng.choice(switches)) if switches and rng.random() < 0.25 else -1,
        noise=upto(0.2, 0.2),
        grouped=bool(rng.random() < (0.5 if scarce else 0.15)),
    )


@dataclass
class _Slot:
    """One slot: its frame, or the frames that it mixes, and its temporal id."""

    time: float
    shares: dict[int, float]
    old: bool
    others: dict[int, float] | None = None
    pooled: bool = False


def arrange(
    seed: int,
    heard: Tensor,
    chunk: int,
    tokens: int,
    heads: tuple[int, int],
    slots: int,
    policies: Sequence[Policy] | None = None,
    narrow: float = 0.0,
) -> Arrangement:
    """Return the context of every chunk of every clip; a function of its arguments only.

    heard: the prompt of every chunk, int64 [B, chunks]. tokens: of a frame. heads: how many, and the channels of
    one. slots: largest number in a context. policies: one for each clip, instead of drawn ones. narrow: as in
    `draw_policy`.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed % 2**64, 77]))
    batch, chunks = heard.shape
    frames = chunks * chunk
    mixture, other = (np.zeros((batch, chunks, slots, frames), np.float32) for _ in range(2))
    swapped, there = (np.zeros((batch, chunks, slots, tokens), bool) for _ in range(2))
    pooled = np.zeros((batch, chunks, slots), bool)
    seeing = np.ones((batch, chunks, slots, heads[0]), bool)
    scale, times = np.ones((batch, chunks, slots), np.float32), np.zeros((batch, chunks, slots), np.float32)
    start = np.zeros((batch, chunks), np.float32)
    seen = np.full((batch, chunks, frames), np.nan, np.float32)
    replayed, counts = heard.numpy().copy(), np.ones((batch, chunks), bool)
    noise = np.zeros(batch, np.float32)
    prompts = heard.numpy()
    for row in range(batch):
        switches = [int(number) for number in np.flatnonzero(np.diff(prompts[row])) + 1]
        policy = draw_policy(rng, slots, switches, narrow) if policies is None else policies[row]
        noise[row] = policy.noise
        if policy.replay >= 0:
            replayed[row, : policy.replay] = prompts[row, policy.replay]
            counts[row, : policy.replay] = False
        # 0 sees everything, 1 the sink and the latest frames, 2 the latest frames, 3 nothing.
        blind = rng.choice(4, heads[0], p=[0.4, 0.25, 0.25, 0.1]) if policy.grouped else np.zeros(heads[0], int)
        scatter = rng.random(frames) < policy.scattered
        for number in range(chunks):
            made, begin = _context(rng, policy, number * chunk, chunk, switches, scatter, slots)
            start[row, number] = begin
            for place, slot in enumerate(made):
                times[row, number, place] = slot.time
                for frame, share in slot.shares.items():
                    mixture[row, number, place, frame] = share
                for frame, share in (slot.others or slot.shares).items():
                    other[row, number, place, frame] = share
                pooled[row, number, place] = slot.pooled
                there[row, number, place] = True
                sink = max(slot.shares) < policy.sink and len(slot.shares) == 1
                seeing[row, number, place] = blind <= (0 if slot.old and not sink else 1 if slot.old else 2)
                if slot.others:
                    swapped[row, number, place] = rng.random(tokens) < 0.5
                if slot.old:
                    scale[row, number, place] = policy.scale
                    there[row, number, place] = rng.random(tokens) >= policy.dropped
                whole = len(slot.shares) == 1 and not (slot.others or slot.pooled)
                spread = there[row, number, place].mean() * seeing[row, number, place].mean()
                if whole and spread >= WHOLE:
                    seen[row, number, next(iter(slot.shares))] = slot.time - begin
    jitter = rng.standard_normal((batch, frames, tokens, 1, heads[1]), np.float32) * noise[:, None, None, None, None]
    arrays = (mixture, other, swapped, pooled, there, seeing, scale, times, start, replayed, counts, seen, jitter)
    return Arrangement(*map(torch.from_numpy, arrays))


def _context(
    rng: Random, policy: Policy, begin: int, chunk: int, switches: list[int], scatter: np.ndarray, slots: int
) -> tuple[list[_Slot], float]:
    """Return the slots before frame `begin`, and the temporal id of that frame."""
    past = list(range(begin))
    if policy.flush >= 0:
        last = max([number * chunk for number in switches if number * chunk <= begin], default=0)
        past = [frame for frame in past if frame < policy.sink or frame >= last - policy.flush]
    room = slots - len(policy.averages) - policy.retrieved - policy.mixed
    sink = past[: policy.sink]
    rest = past[len(sink) :]
    recent = rest[-policy.recent :]
    between = [frame for frame in rest[: len(rest) - len(recent)] if scatter[frame]]
    between = between[max(0, len(between) - (room - len(sink) - len(recent))) :]
    kept = set(sink) | set(between) | set(recent)
    left = [frame for frame in past if frame not in kept]
    old: list[_Slot] = [_Slot(frame, {frame: 1.0}, True) for frame in sink]
    extra: list[_Slot] = []
    if left:
        extra += [_Slot(left[-1], _average(left, rate), True, pooled=policy.pooled) for rate in policy.averages]
        for _ in range(policy.mixed):
            one, two = (int(frame) for frame in rng.choice(left, 2))
            extra.append(_Slot(max(one, two), {one: 1.0}, True, others={two: 1.0}))
    old += sorted(extra, key=lambda slot: slot.time)
    old += [_Slot(frame, {frame: 1.0}, True) for frame in between]
    made = old + [_Slot(frame, {frame: 1.0}, begin - frame > chunk) for frame in recent]
    at = float(begin)
    if policy.relative:
        for place, slot in enumerate(made):
            slot.time = float(place)
        at = float(len(made))
    if policy.nearest:
        for slot in made:
            slot.time = max(slot.time, at - policy.nearest)
    for slot in made[len(old) :]:
        slot.time += policy.gap
    at += policy.gap
    if left and policy.retrieved:
        chosen = rng.choice(left, min(policy.retrieved, len(left)), replace=False)
        made = [_Slot(0.0, {int(frame): 1.0}, True) for frame in chosen] + made
    for slot in made:
        slot.time += policy.shift
    at += policy.shift + (policy.jump if begin // chunk in switches else 0)
    return made, at


def _average(frames: list[int], rate: float) -> dict[int, float]:
    """Return the shares of frames in an exponential moving average that begins with the first one."""
    shares = {frames[0]: 1.0}
    for frame in frames[1:]:
        shares = {each: share * (1 - rate) for each, share in shares.items()}
        shares[frame] = rate
    return shares
