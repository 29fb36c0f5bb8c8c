"""Which frames go into MemRoPE's averages, and when (spec 4, 4.1)."""

from collections.abc import Sequence

from .knobs import MemoryKnobs, stream_count
from .slots import Chunk, FrameSlot, MemorySlot, Slot


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
