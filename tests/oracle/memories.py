"""What a chunk may see: the visibility rules of every strategy (spec sections 3 to 5).

Everything committed stays in the store for ever; nothing is evicted from it. What a chunk sees is a pure
function of the chunks before it, of the prompt switches among them and of the knobs, worked out from the
beginning of the video each time. All lengths are in latent frames: the window counts sink, memory and the
current chunk, and n is the length of a chunk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .dit import FrameKV


@dataclass(frozen=True)
class Chunk:
    """Latent frames generated together; `switch` is the kind of prompt switch right before them, if any."""

    start: int
    frames: int
    switch: str | None = None

    @property
    def ids(self) -> list[int]:
        """Latent frame numbers of the chunk."""
        return list(range(self.start, self.start + self.frames))


@dataclass(frozen=True)
class FrameSlot:
    """A latent frame as committed (generation 0) or as replayed at the g-th prompt switch (generation g)."""

    frame: int
    generation: int = 0


@dataclass(frozen=True)
class MemorySlot:
    """One memory stream: the groups of frames evicted so far, oldest first, and how they are folded together.

    `adaptive_alpha` makes alpha depend on the token (short stream only).
    """

    groups: tuple[tuple[int, ...], ...]
    alpha: float
    per_position: bool
    adaptive_alpha: bool
    from_zeros: bool


Slot = FrameSlot | MemorySlot
LayerStore = Mapping[FrameSlot, FrameKV]


@dataclass(frozen=True)
class View:
    """Context slots in order, the temporal position of each, and the positions of the current frames."""

    slots: list[Slot]
    positions: list[int]
    current_positions: list[int]


@dataclass(frozen=True)
class Replay:
    """One bidirectional commit pass over clean latent frames, made at a prompt switch."""

    frames: list[int]
    generation: int
    view: View


@dataclass(frozen=True, kw_only=True)
class FullKnobs:
    """Everything is visible, for ever."""


@dataclass(frozen=True, kw_only=True)
class SinkKnobs:
    """Window with sink frames (spec 3.1, 3.3); without any it is the plain sliding window."""

    window: int
    sink: int
    positions: str
    on_switch: str


@dataclass(frozen=True, kw_only=True)
class InfinityKnobs:
    """Block-relative window with flush and cut (spec 5)."""

    window: int = 6
    sink: int = 1
    flush_keep: int = 2
    cut: int = 45
    pinned_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class MemoryKnobs:
    """Sink, long and short memory frames, local frames (spec 4); a stream without alpha does not exist."""

    window: int = 12
    sink: int = 3
    alpha_long: float | None = 0.01
    alpha_short: float | None = 0.1
    pooling: str
    init: str


Knobs = FullKnobs | SinkKnobs | InfinityKnobs | MemoryKnobs

FLUSH_KEEP = 2
"""Frames that the flush of a sliding window leaves besides the sink."""


def parse_knobs(strategy: str, knobs: Mapping[str, Any], n: int) -> Knobs:
    """Knobs by name -> typed knobs; an unknown, missing or impossible one is an error."""
    parsed: Knobs
    if strategy == "full":
        parsed = FullKnobs(**knobs)
    elif strategy == "sliding_window":
        parsed = SinkKnobs(sink=0, **knobs)
    elif strategy == "attention_sink":
        parsed = SinkKnobs(**knobs)
    elif strategy == "infinity_rope":
        parsed = InfinityKnobs(**knobs)
    elif strategy == "memrope":
        parsed = MemoryKnobs(**knobs)
    else:
        raise ValueError(f"unknown strategy {strategy!r}")
    if isinstance(parsed, SinkKnobs):
        require(parsed.positions, "absolute", "relative")
        require(parsed.on_switch, "keep", "flush", "recache", "recache_all")
    if isinstance(parsed, MemoryKnobs):
        require(parsed.pooling, "chunk", "position", "adaptive")
        require(parsed.init, "released", "paper")
    if not isinstance(parsed, FullKnobs):
        streams = stream_count(parsed) if isinstance(parsed, MemoryKnobs) else 0
        if parsed.window < parsed.sink + streams + n:
            raise ValueError(f"window {parsed.window} has no room for sink, memory and a chunk of {n}")
    return parsed


def require(value: str, *choices: str) -> None:
    """The value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{value!r} is none of {choices}")


def visible(knobs: Knobs, n: int, history: Sequence[Chunk], current: Chunk) -> View:
    """What every pass over the current chunk sees; history lists all chunks before it, in order."""
    if isinstance(knobs, MemoryKnobs):
        slots = memory_slots(knobs, n, history, current)
        return relative_view(slots, current.frames)
    if isinstance(knobs, FullKnobs):
        past = [FrameSlot(frame) for chunk in history for frame in chunk.ids]
        return absolute_view(past, current.ids)

    kept = kept_frames(knobs, n, history, current)
    if isinstance(knobs, SinkKnobs):
        if knobs.positions == "absolute":
            return absolute_view(kept, current.ids)
        return relative_view(kept, current.frames)

    view = relative_view(kept, current.frames)
    if knobs.pinned_at is not None:
        view = pinned_view(kept, current, knobs.sink, knobs.pinned_at)
    if current.switch == "hardcut":
        # The jump lasts for this chunk only; the context stays where it is.
        cut = list(range(knobs.cut, knobs.cut + current.frames))
        return View(view.slots, view.positions, cut)
    return view


def replay_before(knobs: Knobs, n: int, history: Sequence[Chunk], current: Chunk) -> Replay | None:
    """The pass that the prompt switch right before the current chunk asks for, if it asks for one."""
    if not isinstance(knobs, SinkKnobs) or current.switch is None:
        return None
    frames = replayed_frames(knobs, current.start)
    if not frames:
        return None
    context = replay_context(knobs, kept_before_switch(knobs, n, history), current.start)
    if knobs.positions == "absolute":
        view = absolute_view(context, frames)
    else:
        view = relative_view(context, len(frames))
    generation = 1 + sum(chunk.switch is not None for chunk in history)
    return Replay(frames, generation, view)


def absolute_view(slots: Sequence[FrameSlot], current: Sequence[int]) -> View:
    """Every frame sits at its own number."""
    return View(list(slots), [slot.frame for slot in slots], list(current))


def relative_view(slots: Sequence[Slot], frames: int) -> View:
    """Every slot sits at its index; the current frames follow directly."""
    count = len(slots)
    return View(list(slots), list(range(count)), list(range(count, count + frames)))


def pinned_view(slots: Sequence[FrameSlot], current: Chunk, sink: int, pinned_at: int) -> View:
    """Absolute positions until the newest frame reaches `pinned_at`, then pinned there (spec 5, paper)."""
    newest = current.ids[-1]
    pin = min(newest, pinned_at)
    positions: list[int] = []
    for index, slot in enumerate(slots):
        if index < sink:
            positions.append(index)
        else:
            positions.append(max(sink, pin - (newest - slot.frame)))
    return View(list(slots), positions, [pin - (newest - frame) for frame in current.ids])


def kept_frames(knobs: SinkKnobs | InfinityKnobs, n: int, history: Sequence[Chunk], current: Chunk) -> list[FrameSlot]:
    """Frames that a window with a sink still holds when the current chunk begins, its prompt switch done."""
    kept: list[FrameSlot] = []
    generation = 0
    for chunk in [*history, current]:
        if chunk.switch is not None:
            generation += 1
            kept = after_switch(knobs, n, kept, chunk.start, generation)
        if chunk is not current:
            kept = trimmed(knobs, n, kept + [FrameSlot(frame) for frame in chunk.ids])
    return kept


def kept_before_switch(knobs: SinkKnobs, n: int, history: Sequence[Chunk]) -> list[FrameSlot]:
    """Frames held after the commit of the last chunk in history, before any switch that follows it."""
    start = history[-1].start + history[-1].frames if history else 0
    return kept_frames(knobs, n, history, Chunk(start, n))


def trimmed(knobs: SinkKnobs | InfinityKnobs, n: int, kept: Sequence[FrameSlot]) -> list[FrameSlot]:
    """Drop the oldest frames behind the sink until the next chunk fits into the window."""
    kept = list(kept)
    while len(kept) > knobs.window - n:
        del kept[knobs.sink]
    return kept


def after_switch(
    knobs: SinkKnobs | InfinityKnobs, n: int, kept: Sequence[FrameSlot], start: int, generation: int
) -> list[FrameSlot]:
    """Frames held once the prompt switch before the chunk at `start` is done."""
    if isinstance(knobs, InfinityKnobs):
        return flushed(kept, knobs.sink, knobs.flush_keep)
    if knobs.on_switch == "keep":
        return list(kept)
    if knobs.on_switch == "flush":
        return flushed(kept, knobs.sink, FLUSH_KEEP)
    replayed = [FrameSlot(frame, generation) for frame in replayed_frames(knobs, start)]
    return trimmed(knobs, n, replay_context(knobs, kept, start) + replayed)


def flushed(kept: Sequence[FrameSlot], sink: int, newest: int) -> list[FrameSlot]:
    """The sink and the newest frames only."""
    return [slot for index, slot in enumerate(kept) if index < sink or index >= len(kept) - newest]


def keeps_old_sink(knobs: SinkKnobs, start: int) -> bool:
    """Whether a replay leaves the old prompt's sink alone: only once the window has moved (spec 3.3)."""
    return knobs.on_switch == "recache" and start > knobs.window


def replayed_frames(knobs: SinkKnobs, start: int) -> list[int]:
    """Clean latent frames that a prompt switch before the chunk at `start` feeds again."""
    if knobs.on_switch not in ("recache", "recache_all"):
        return []
    if keeps_old_sink(knobs, start):
        return list(range(start - (knobs.window - knobs.sink), start))
    return list(range(start - min(knobs.window, start), start))


def replay_context(knobs: SinkKnobs, kept: Sequence[FrameSlot], start: int) -> list[FrameSlot]:
    """Frames that survive the replay untouched, and that the replayed frames see."""
    return list(kept[: knobs.sink]) if keeps_old_sink(knobs, start) else []


def stream_count(knobs: MemoryKnobs) -> int:
    """Number of memory slots."""
    return (knobs.alpha_long is not None) + (knobs.alpha_short is not None)


def memory_slots(knobs: MemoryKnobs, n: int, history: Sequence[Chunk], current: Chunk) -> list[Slot]:
    """Slots [sink | long | short | local] at the start of the current chunk (spec 4, 4.1)."""
    if knobs.init == "released":
        sink, groups, local = released_evictions(knobs, n, history, current)
    else:
        sink, groups, local = paper_evictions(knobs, n, history, current)
    streams: list[Slot] = []
    # The released memory is absent until the window first overflows; the paper's is there from the start.
    if groups or knobs.init == "paper":
        streams = memory_streams(knobs, groups)
    return [*(FrameSlot(frame) for frame in sink), *streams, *(FrameSlot(frame) for frame in local)]


def memory_streams(knobs: MemoryKnobs, groups: Sequence[Sequence[int]]) -> list[Slot]:
    """The memory slots that exist, long before short."""
    streams: list[Slot] = []
    for alpha, is_short in ((knobs.alpha_long, False), (knobs.alpha_short, True)):
        if alpha is not None:
            streams.append(
                MemorySlot(
                    groups=tuple(tuple(group) for group in groups),
                    alpha=alpha,
                    per_position=knobs.pooling != "chunk",
                    adaptive_alpha=knobs.pooling == "adaptive" and is_short,
                    from_zeros=knobs.init == "paper",
                )
            )
    return streams


def released_evictions(
    knobs: MemoryKnobs, n: int, history: Sequence[Chunk], current: Chunk
) -> tuple[list[int], list[list[int]], list[int]]:
    """Sink, evicted groups and local frames of the released code (spec 4)."""
    reserved = knobs.sink + stream_count(knobs)
    groups: list[list[int]] = []
    local: list[int] = []
    overflowed = False
    for chunk in [*history, current]:
        if not overflowed and chunk.start + n > knobs.window:
            overflowed = True
            evicted = chunk.start + n - knobs.window
            # The frames whose slots the memory takes over are dropped without ever entering it.
            groups.append(list(range(reserved, reserved + evicted)))
            local = list(range(reserved + evicted, chunk.start))
        elif overflowed:
            evicted = reserved + len(local) + n - knobs.window
            if evicted > 0:
                groups.append(local[:evicted])
                local = local[evicted:]
        if overflowed and chunk is not current:
            local = local + chunk.ids
    if not overflowed:
        return [], [], list(range(current.start))
    return list(range(knobs.sink)), groups, local


def paper_evictions(
    knobs: MemoryKnobs, n: int, history: Sequence[Chunk], current: Chunk
) -> tuple[list[int], list[list[int]], list[int]]:
    """Sink, evicted groups and local frames of the paper (spec 4.1): no frame is dropped unseen."""
    sink: list[int] = []
    groups: list[list[int]] = []
    local: list[int] = []
    for chunk in [*history, current]:
        evicted = len(sink) + stream_count(knobs) + len(local) + n - knobs.window
        if evicted > 0:
            groups.append(local[:evicted])
            local = local[evicted:]
        if chunk is not current:
            for frame in chunk.ids:
                (sink if frame < knobs.sink else local).append(frame)
    return sink, groups, local


def slot_kv(slot: Slot, store: LayerStore, blank: Tensor) -> FrameKV:
    """Un-rotated keys and values of a slot in one layer; blank is a zero frame [N, heads, head_dim]."""
    if isinstance(slot, FrameSlot):
        return store[slot]
    memory_k, memory_v = memory_frame(slot, store, blank)
    return memory_k.to(blank.dtype), memory_v.to(blank.dtype)


def memory_frame(slot: MemorySlot, store: LayerStore, blank: Tensor) -> FrameKV:
    """Fold the evicted groups of a stream into one frame of K and V, each [N, heads, head_dim] float64."""
    memory_k, memory_v = blank.double(), blank.double()
    for number, group in enumerate(slot.groups):
        pooled_k = pooled([store[FrameSlot(frame)][0] for frame in group], slot.per_position)
        pooled_v = pooled([store[FrameSlot(frame)][1] for frame in group], slot.per_position)
        if number == 0 and not slot.from_zeros:
            memory_k, memory_v = pooled_k, pooled_v
            continue
        alpha = torch.full((blank.shape[0], 1, 1), slot.alpha, dtype=torch.float64)
        if slot.adaptive_alpha:
            alpha = token_alpha(slot.alpha, pooled_k, memory_k)
        memory_k = alpha * pooled_k + (1 - alpha) * memory_k
        memory_v = alpha * pooled_v + (1 - alpha) * memory_v
    return memory_k, memory_v


def pooled(frames: Sequence[Tensor], per_position: bool) -> Tensor:
    """Mean over evicted frames [N, heads, head_dim] each, and over their tokens too unless per position."""
    mean = torch.stack([frame.double() for frame in frames]).mean(dim=0)
    if per_position:
        return mean
    return mean.mean(dim=0, keepdim=True).expand_as(mean)


def token_alpha(alpha: float, pooled_k: Tensor, memory_k: Tensor) -> Tensor:
    """Adaptive alpha [N, 1, 1]: 0.1 alpha where the short keys barely moved, 5 alpha where most (spec 4)."""
    distance = torch.linalg.vector_norm(pooled_k - memory_k, dim=-1).mean(dim=-1)
    motion = distance / (distance.max() + 1e-8)
    alphas: Tensor = 0.1 * alpha + motion * (5 * alpha - 0.1 * alpha)
    return alphas.view(-1, 1, 1)
