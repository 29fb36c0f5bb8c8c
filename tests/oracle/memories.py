"""Visibility rules of every strategy (spec sections 3 to 5).

Everything committed stays in the store for ever; nothing is evicted from it. What a chunk sees is a pure
function of the chunks before it, of the prompt switches among them and of the knobs, worked out from the
beginning of the video each time. All lengths are in latent frames: the window counts sink, memory and the
current chunk, and n is the length of a chunk.
"""

from collections.abc import Sequence

from .averages import memory_slots
from .knobs import AbsorbingKnobs, FullKnobs, InfinityKnobs, Knobs, MemoryKnobs, RollingKnobs, SinkKnobs
from .slots import AbsorbingSlot, Chunk, FrameSlot, Replay, Slot, View

FLUSH_KEEP = 2
"""Frames that the flush of a sliding window leaves besides the sink."""


def visible(knobs: Knobs, n: int, history: Sequence[Chunk], current: Chunk) -> View:
    """What every pass over the current chunk sees; history lists all chunks before it, in order."""
    if isinstance(knobs, MemoryKnobs):
        slots = memory_slots(knobs, n, history, current)
        return relative_view(slots, current.frames)
    if isinstance(knobs, AbsorbingKnobs):
        return relative_view(absorbing_slots(knobs, n, history), current.frames)
    if isinstance(knobs, RollingKnobs):
        ids, frames = rolling_frames(knobs, n, current)
        if knobs.positions == "absolute":
            return View([FrameSlot(frame) for frame in frames], ids, current.ids)
        return relative_view([FrameSlot(frame) for frame in frames], current.frames)
    if isinstance(knobs, FullKnobs):
        past = [FrameSlot(frame) for chunk in history for frame in chunk.ids]
        return absolute_view(past, current.ids)

    kept = kept_frames(knobs, n, history, current)
    if isinstance(knobs, SinkKnobs):
        return sink_view(knobs, kept, current.ids)

    view = relative_view(kept, current.frames)
    if knobs.pinned_at is not None:
        view = pinned_view(kept, current.ids, knobs.sink, knobs.pinned_at)
    if current.switch == "hardcut":
        # The jump lasts for this chunk only; the context stays where it is.
        cut = list(range(knobs.cut, knobs.cut + current.frames))
        return View(view.slots, view.positions, cut)
    return view


def rolling_frames(knobs: RollingKnobs, n: int, current: Chunk) -> tuple[list[int], list[int]]:
    """Ids of the slots before the current chunk, and the frames that stand in them: found by walking, step by step."""
    period = knobs.window - n
    walk: list[int] = []
    while len(walk) < current.start:
        walk += [*range(period), *reversed(range(period))]
    ids = list(range(max(0, current.start - period), current.start))
    return ids, [frame if frame >= current.start - n else walk[frame] for frame in ids]


def absorbing_slots(knobs: AbsorbingKnobs, n: int, history: Sequence[Chunk]) -> list[Slot]:
    """Sink frames with what they absorbed, then local frames, when a chunk begins."""
    frames = [frame for chunk in history for frame in chunk.ids]
    absorbed: list[list[int]] = [[] for _ in range(knobs.sink)]
    local: list[int] = []
    left = 0
    for chunk in history:
        local += [frame for frame in chunk.ids if frame >= knobs.sink]
        while min(knobs.sink, chunk.start + chunk.frames) + len(local) + n > knobs.window:
            absorbed[left % knobs.sink].append(local.pop(0))
            left += 1
    sink = [AbsorbingSlot(frame, tuple(absorbed[frame]), knobs.alpha) for frame in frames[: knobs.sink]]
    return [*sink, *(FrameSlot(frame) for frame in local)]


def replay_before(knobs: Knobs, n: int, history: Sequence[Chunk], current: Chunk) -> Replay | None:
    """The pass that the prompt switch right before the current chunk asks for, if it asks for one."""
    if not isinstance(knobs, SinkKnobs) or current.switch is None:
        return None
    frames = replayed_frames(knobs, current.start)
    if not frames:
        return None
    context = replay_context(knobs, kept_before_switch(knobs, n, history), current.start)
    view = sink_view(knobs, context, frames)
    generation = 1 + sum(chunk.switch is not None for chunk in history)
    return Replay(frames, generation, view)


def sink_view(knobs: SinkKnobs, slots: Sequence[FrameSlot], current: Sequence[int]) -> View:
    """Where the kept frames of a window with a sink and the current frames sit."""
    if knobs.pinned_at is not None:
        return pinned_view(slots, current, knobs.sink, knobs.pinned_at)
    if knobs.positions == "absolute":
        return absolute_view(slots, current)
    return relative_view(slots, len(current))


def absolute_view(slots: Sequence[FrameSlot], current: Sequence[int]) -> View:
    """Every frame sits at its own number."""
    return View(list(slots), [slot.frame for slot in slots], list(current))


def relative_view(slots: Sequence[Slot], frames: int) -> View:
    """Every slot sits at its index; the current frames follow directly."""
    count = len(slots)
    return View(list(slots), list(range(count)), list(range(count, count + frames)))


def pinned_view(slots: Sequence[FrameSlot], current: Sequence[int], sink: int, pinned_at: int) -> View:
    """Absolute positions until the newest frame reaches `pinned_at`, then pinned there (spec 5, paper)."""
    newest = current[-1]
    pin = min(newest, pinned_at)
    positions: list[int] = []
    for index, slot in enumerate(slots):
        if index < sink:
            positions.append(index)
        else:
            positions.append(max(sink, pin - (newest - slot.frame)))
    return View(list(slots), positions, [pin - (newest - frame) for frame in current])


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
