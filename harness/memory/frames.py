"""Whole frames, kept as they are: the memory behind every window and every sink."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from harness.errors import BudgetError, KnobError
from harness.memory.budget import Part, apportion
from harness.memory.entries import Entries
from harness.memory.packed import restored
from harness.memory.seam import Memory
from harness.memory.terms import At, Context, MemorySpec, PromptSwitch

Positions = Literal["absolute", "relative"]
"""Temporal ids of kept frames: their own frame ids, or their slot in the cache."""
OnSwitch = Literal["keep", "flush", "recache", "recache_all"]
"""What a window does at a prompt switch; see `FrameCache`."""


def check_window(name: str, spec: MemorySpec, window: int, sink: int, memory: int = 0) -> None:
    """Raise KnobError unless sink, memory and a chunk fit into the window (all in latent frames)."""
    needed = sink + memory + spec.chunk
    if window < needed:
        parts = f"sink {sink} + " + (f"memory {memory} + " if memory else "") + f"chunk {spec.chunk}"
        raise KnobError(
            f"{name}: window {window} is smaller than {parts} = {needed} latent frames, which it includes; "
            f"raise window to at least {needed} or lower sink"
        )


def check_whole_chunks(name: str, spec: MemorySpec, window: int) -> None:
    """Raise KnobError for a window (in latent frames) that is no multiple of the chunk."""
    if window % spec.chunk:
        below = window // spec.chunk * spec.chunk
        raise KnobError(
            f"{name}: window {window} is no multiple of the chunk ({spec.chunk} latent frames); take {below} or "
            f"{below + spec.chunk}"
        )


def check_pin(name: str, pinned_at: int | None, sink: int, room: int) -> None:
    """Raise KnobError unless `room` latent frames have temporal ids behind the sink's, up to `pinned_at`."""
    if pinned_at is not None and pinned_at < sink + room - 1:
        raise KnobError(
            f"{name}: pinned_at {pinned_at} leaves no room for sink {sink} and {room} frames below it; raise it to at "
            f"least {sink + room - 1}"
        )


def check_pinned_window(pinned_at: int | None, window: int, usual: int) -> None:
    """Raise BudgetError for a window (in latent frames) that is larger than its usual size and than its ids."""
    if pinned_at is not None and window > max(usual, pinned_at + 1):
        raise BudgetError(
            f"a window of {window} has no ids for all its frames with pinned_at {pinned_at}; lower the budget or raise "
            "pinned_at"
        )


def window_bytes(spec: MemorySpec, window: int, frames: int) -> int:
    """Bytes that a window holds between chunks after `frames` frames: all but the room of the next chunk."""
    return spec.bytes(min(frames, window - spec.chunk) * spec.frame_tokens)


def sink_at(spec: MemorySpec, frames: int, window: int, sink: int, memory: int = 0) -> int:
    """Return the sink of a window that is resized to `frames` latent frames beside the chunk.

    Sink and recent frames keep their proportion, down to one frame of each; a sink does not grow, and memory frames
    stay as many as they are.

    Parameters
    ----------
    spec: of the backbone.
    frames: latent frames of the resized context, memory frames included.
    window, sink, memory: latent frames as the method has them; the window includes all parts and the chunk.

    Raises
    ------
    BudgetError: where the parts do not fit.
    """
    recent = window - spec.chunk - sink - memory
    parts = {
        "sink": Part(sink, least=min(1, sink), most=sink),
        "recent": Part(recent, least=min(1, recent)),
        "memory": Part(memory, least=memory, most=memory),
    }
    return apportion(frames, parts)["sink"]


class FrameCache(Memory):
    """The first `sink` frames and the latest ones, as many as fit into `window` beside the next chunk.

    Parameters
    ----------
    window: latent frames in all, sink and current chunk included; None keeps everything.
    sink: latent frames that never leave.
    positions: "absolute" (frame ids) or "relative" (slot in the cache, the chunk right behind).
    pinned_at: None, or a temporal id: ids are frame ids until the newest frame reaches it, and then all frames behind
        the sink move down, so that the newest one stays there; none moves below the sink.
    on_switch: at a prompt switch "keep" everything; "flush" all but the sink and the last `flush_keep` frames
        (infinity-RoPE's KV flush); "recache" (LongLive with a global sink: keep the sink, replay the rest of the window
        under the new prompt; the sink is replayed too as long as nothing was evicted); "recache_all" (LongLive
        without: replay the whole window, whose first frames become the sink).
    """

    def __init__(
        self,
        spec: MemorySpec,
        *,
        window: int | None,
        sink: int = 0,
        positions: Positions = "absolute",
        on_switch: OnSwitch = "keep",
        flush_keep: int = 2,
        pinned_at: int | None = None,
    ) -> None:
        self.spec, self.window, self.sink, self.pinned_at = spec, window, sink, pinned_at
        self.positions, self.on_switch, self.flush_keep = positions, on_switch, flush_keep
        self.capacity = None if window is None else window - spec.chunk
        self.lookback = window if window is not None and on_switch.startswith("recache") else 0
        self.kept: list[dict[int, Entries]] = [{} for _ in range(spec.layers)]

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        kept = self.kept[layer]
        positions, start = self.place(list(kept), at)
        return Context(tuple(kept.values()), positions, start)

    def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
        """Temporal ids of the kept frames `ids`, and of the chunk's first frame."""
        if self.pinned_at is not None:
            newest = at.start + at.frames - 1
            shift = min(newest, self.pinned_at) - newest
            behind = [max(self.sink, frame + shift) for frame in ids[self.sink :]]
            return [*range(min(self.sink, len(ids))), *behind], at.start + shift
        if self.positions == "absolute":
            return ids, at.start
        return list(range(len(ids))), len(ids)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        kept = self.kept[layer]
        for frame in range(at.frames):
            kept[at.start + frame] = entries[frame : frame + 1].copy()
        self.trim(layer)

    def trim(self, layer: int) -> None:
        """Evict the oldest frames behind the sink until the next chunk fits."""
        if self.capacity is not None:
            kept = self.kept[layer]
            self.drop(layer, list(kept)[self.sink : self.sink + max(0, len(kept) - self.capacity)])

    def drop(self, layer: int, ids: Iterable[int]) -> list[Entries]:
        """Let frames go and return them, in order."""
        return [self.kept[layer].pop(frame) for frame in ids]

    def forget(self, switch: PromptSwitch) -> None:
        if self.on_switch == "flush":
            self.flush()
        elif self.lookback:
            frames = switch.start
            sink = self.sink if self.on_switch == "recache" and frames > self.lookback else 0
            for layer, kept in enumerate(self.kept):
                self.drop(layer, list(kept)[sink:])
            again = min(self.lookback - sink, frames)
            switch.replay(switch.latents[:, switch.latents.shape[1] - again :], frames - again)

    def flush(self) -> None:
        """Drop all but the sink and the last `flush_keep` frames."""
        for layer, kept in enumerate(self.kept):
            ids = list(kept)
            self.drop(layer, ids[self.sink : max(self.sink, len(ids) - self.flush_keep)])

    def held(self, layer: int) -> Mapping[int, Entries]:
        return self.kept[layer]

    def stored(self) -> Iterable[Tensor]:
        return [x for kept in self.kept for entries in kept.values() for x in entries.stored]

    def state_dict(self) -> dict[str, Any]:
        return {"frames": [{frame: entries.state() for frame, entries in kept.items()} for kept in self.kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        packing = self.spec.packing
        self.kept = [{frame: restored(each, packing) for frame, each in kept.items()} for kept in state["frames"]]
