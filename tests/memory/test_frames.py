from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.layout import DenseLayout
from harness.errors import KnobError
from harness.memory import At, Entries, MemorySpec, PromptSwitch
from harness.memory.frames import FrameCache, OnSwitch, Positions, check_window, window_bytes

T = TypeVar("T")
LAYERS = 2
TOKENS = 2
SINKS, ROOMS, CHUNKS = st.integers(0, 5), st.integers(0, 7), st.integers(1, 4)


def spec_of(chunk: int = 3, batch: int = 1) -> MemorySpec:
    return MemorySpec(LAYERS, DenseLayout(1, 2), TOKENS, chunk, batch)


def entries(frames: Sequence[int], take: int = 0, batch: int = 1) -> Entries:
    """Keys hold the frame's id, values the take in which it was made."""
    keys = torch.tensor(frames, dtype=torch.float32)[None, :, None, None, None].expand(batch, -1, TOKENS, 1, 2)
    return Entries(keys.clone(), torch.full_like(keys, take))


@dataclass
class Video:
    """A cache that is fed as a rollout feeds it, and what it was told."""

    spec: MemorySpec
    cache: FrameCache
    frames: int = 0
    take: int = 0
    replays: list[tuple[int, int]] = field(default_factory=list)

    def commit(self, start: int, frames: int) -> None:
        for layer in range(LAYERS):
            at = At(start, frames, 4, commit=True)
            self.cache.remember(layer, entries(range(start, start + frames), self.take), None, at)

    def chunk(self) -> None:
        self.commit(self.frames, self.spec.chunk)
        self.frames += self.spec.chunk

    def switch(self) -> None:
        """A prompt switch: latents are frame ids, so that what is replayed can be told."""
        self.take += 1
        ids = range(max(0, self.frames - self.cache.lookback), self.frames)
        latents = torch.tensor(ids, dtype=torch.float32)[None, :, None, None, None]
        prompts = torch.zeros(1, 1, 1)
        self.cache.forget(PromptSwitch(self.frames, "smooth", prompts, prompts, latents, self.replay))

    def replay(self, latents: Tensor, start: int, chunk: int | None = None) -> None:
        assert chunk is None
        assert latents.flatten().tolist() == list(range(start, start + latents.shape[1]))
        self.replays.append((start, latents.shape[1]))
        self.commit(start, latents.shape[1])

    def kept(self) -> list[tuple[int, int]]:
        """(frame, take) of what is kept, in order; the same in every layer, and under its right id."""
        layers = []
        for layer in range(LAYERS):
            held = self.cache.held(layer)
            for frame, one in held.items():
                assert [x.shape for x in one.tensors] == [(1, 1, TOKENS, 1, 2)] * 2
                assert one.tensors[0].unique().tolist() == [frame]
            layers.append([(frame, int(one.tensors[1].flatten()[0])) for frame, one in held.items()])
        assert all(layer == layers[0] for layer in layers)
        return layers[0]


def opened(chunk: int, window: int | None, sink: int = 0, **options: Any) -> Video:
    spec = spec_of(chunk)
    return Video(spec, FrameCache(spec, window=window, sink=sink, **options))


def windowed(ids: list[T], sink: int, capacity: int) -> list[T]:
    """The first `sink` of them and as many of the last as there is room for."""
    if len(ids) <= capacity:
        return ids
    latest = capacity - sink
    return ids[:sink] + (ids[-latest:] if latest else [])


@given(chunk=CHUNKS, sink=SINKS, room=ROOMS, chunks=st.integers(1, 9))
def test_sink_and_latest_frames_stay_in_order(chunk: int, sink: int, room: int, chunks: int) -> None:
    """Windows that the chunk does not divide, sinks larger than a chunk, and no room but for the sink included."""
    video = opened(chunk, sink + chunk + room, sink)
    for number in range(1, chunks + 1):
        video.chunk()
        ids = list(range(number * chunk))
        assert [frame for frame, _ in video.kept()] == windowed(ids, sink, sink + room)


@given(chunk=CHUNKS, chunks=st.integers(1, 9))
def test_without_a_window_everything_stays(chunk: int, chunks: int) -> None:
    video = opened(chunk, None)
    assert video.cache.capacity is None
    for _ in range(chunks):
        video.chunk()
    assert [frame for frame, _ in video.kept()] == list(range(chunk * chunks))


@pytest.mark.parametrize(
    ("window", "sink", "kept"),
    [
        (8, 0, [[0, 1, 2], [1, 2, 3, 4, 5], [4, 5, 6, 7, 8], [7, 8, 9, 10, 11]]),
        (7, 1, [[0, 1, 2], [0, 3, 4, 5], [0, 6, 7, 8], [0, 9, 10, 11]]),
        (8, 4, [[0, 1, 2], [0, 1, 2, 3, 5], [0, 1, 2, 3, 8], [0, 1, 2, 3, 11]]),
        (5, 2, [[0, 1], [0, 1], [0, 1], [0, 1]]),
        (3, 0, [[], [], [], []]),
    ],
)
def test_windows_by_hand(window: int, sink: int, kept: list[list[int]]) -> None:
    video = opened(3, window, sink)
    for expected in kept:
        video.chunk()
        assert [frame for frame, _ in video.kept()] == expected


@given(
    chunk=CHUNKS,
    sink=SINKS,
    room=ROOMS,
    keep=st.integers(0, 4),
    events=st.lists(st.sampled_from(["chunk", "chunk", "switch"]), min_size=1, max_size=12),
)
def test_flush_keeps_the_sink_and_the_last_frames(
    chunk: int, sink: int, room: int, keep: int, events: list[str]
) -> None:
    video = opened(chunk, sink + chunk + room, sink, on_switch="flush", flush_keep=keep)
    ids: list[int] = []
    for event in events:
        if event == "chunk":
            ids = windowed([*ids, *range(video.frames, video.frames + chunk)], sink, sink + room)
            video.chunk()
        else:
            # A cache that is still filling may be all sink and last frames: then it keeps what it has.
            ids = [frame for place, frame in enumerate(ids) if place < sink or place >= len(ids) - keep]
            video.switch()
        assert [frame for frame, _ in video.kept()] == ids
    assert video.replays == []
    assert video.cache.lookback == 0


@given(
    chunk=CHUNKS,
    sink=SINKS,
    room=ROOMS,
    on_switch=st.sampled_from(["recache", "recache_all"]),
    events=st.lists(st.sampled_from(["chunk", "chunk", "switch"]), min_size=1, max_size=12),
)
def test_recache(chunk: int, sink: int, room: int, on_switch: OnSwitch, events: list[str]) -> None:
    """LongLive (spec 3.3): one pass over the last frames of the window; a global sink keeps its old entries, unless
    nothing has been evicted yet; without one the oldest frames of the window become the sink."""
    window = sink + chunk + room
    video = opened(chunk, window, sink, on_switch=on_switch)
    assert video.cache.lookback == window
    kept: list[tuple[int, int]] = []
    replays: list[tuple[int, int]] = []
    for event in ["chunk", *events]:
        if event == "chunk":
            new = [(frame, video.take) for frame in range(video.frames, video.frames + chunk)]
            video.chunk()
        else:
            video.switch()
            again = min(window, video.frames)
            stays = sink if on_switch == "recache" and video.frames > window else 0
            new = [(frame, video.take) for frame in range(video.frames - again + stays, video.frames)]
            kept = kept[:stays]
            replays.append((new[0][0], len(new)))
        kept = windowed([*kept, *new], sink, sink + room)
        assert video.kept() == kept
        assert video.replays == replays


@pytest.mark.parametrize(
    ("on_switch", "chunks", "replayed", "kept"),
    [
        # Window 12, sink 3, chunk 3, as LongLive: still within the window, the sink is replayed too.
        ("recache", 3, (0, 9), [(frame, 1) for frame in range(9)]),
        ("recache", 4, (0, 12), [(frame, 1) for frame in (0, 1, 2, 6, 7, 8, 9, 10, 11)]),
        ("recache", 5, (6, 9), [(0, 0), (1, 0), (2, 0), *((frame, 1) for frame in range(9, 15))]),
        ("recache_all", 5, (3, 12), [(frame, 1) for frame in (3, 4, 5, 9, 10, 11, 12, 13, 14)]),
    ],
)
def test_recache_by_hand(
    on_switch: OnSwitch, chunks: int, replayed: tuple[int, int], kept: list[tuple[int, int]]
) -> None:
    video = opened(3, 12, 3, on_switch=on_switch)
    for _ in range(chunks):
        video.chunk()
    video.switch()
    assert video.replays == [replayed]
    assert video.kept() == kept


@given(chunk=CHUNKS, sink=SINKS, room=ROOMS, chunks=st.integers(1, 6))
def test_keep_does_nothing_at_a_switch(chunk: int, sink: int, room: int, chunks: int) -> None:
    video = opened(chunk, sink + chunk + room, sink)
    for _ in range(chunks):
        video.chunk()
    before = video.kept()
    video.switch()
    assert video.kept() == before
    assert video.replays == []


@given(
    chunk=CHUNKS, sink=SINKS, room=ROOMS, chunks=st.integers(0, 6), positions=st.sampled_from(["absolute", "relative"])
)
def test_positions(chunk: int, sink: int, room: int, chunks: int, positions: Positions) -> None:
    """Frame ids, or slots that are counted through, the chunk right behind; the context is what is held."""
    video = opened(chunk, sink + chunk + room, sink, positions=positions)
    for _ in range(chunks):
        video.chunk()
    ids = [frame for frame, _ in video.kept()]
    for layer in range(LAYERS):
        context = video.cache.recall(layer, None, At(video.frames, chunk, 0, commit=False))
        assert [float(slot.tensors[0].flatten()[0]) for slot in context.slots] == ids
        assert all(slot is video.cache.held(layer)[frame] for slot, frame in zip(context.slots, ids, strict=True))
        slots = list(range(len(ids)))
        assert list(context.positions) == (ids if positions == "absolute" else slots)
        assert context.start == (video.frames if positions == "absolute" else len(ids))
        assert context.frames == len(ids)
        assert context.weights is None


def test_entries_on_loan_are_copied() -> None:
    cache = FrameCache(spec_of(), window=9)
    lent = entries([0, 1, 2])
    cache.remember(0, lent, None, At(0, 3, 4, commit=True))
    lent.map(lambda x: x.fill_(torch.nan))
    assert [one.tensors[0].unique().tolist() for one in cache.held(0).values()] == [[0.0], [1.0], [2.0]]


@given(chunk=CHUNKS, sink=SINKS, room=ROOMS, chunks=st.integers(0, 9), batch=st.integers(1, 3))
def test_bytes_are_those_on_paper(chunk: int, sink: int, room: int, chunks: int, batch: int) -> None:
    """Evicted frames free their bytes: no frame that is kept is a view of a longer run."""
    spec = spec_of(chunk, batch)
    window = sink + chunk + room
    cache = FrameCache(spec, window=window, sink=sink)
    for number in range(chunks):
        start = number * chunk
        for layer in range(LAYERS):
            cache.remember(
                layer, entries(range(start, start + chunk), batch=batch), None, At(start, chunk, 4, commit=True)
            )
    scalars = min(chunks * chunk, window - chunk) * LAYERS * batch * TOKENS * 2 * 2
    assert cache.nbytes() == window_bytes(spec, window, chunks * chunk) == 4 * scalars


def test_a_saved_cache_goes_on() -> None:
    video = opened(2, 7, 1)
    for _ in range(4):
        video.chunk()
    twin = opened(2, 7, 1)
    twin.frames = video.frames
    twin.cache.load_state_dict(video.cache.state_dict())
    assert twin.kept() == video.kept()
    for one in (video, twin):
        one.chunk()
    assert twin.kept() == video.kept() == [(frame, 0) for frame in (0, 6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("window", "sink", "memory", "needed"), [(2, 0, 0, 3), (5, 3, 0, 6), (7, 3, 2, 8), (1, 0, 0, 3)]
)
def test_a_window_without_room_for_a_chunk_is_refused(window: int, sink: int, memory: int, needed: int) -> None:
    with pytest.raises(KnobError) as caught:
        check_window("some", spec_of(3), window, sink, memory)
    message = str(caught.value)
    assert message.startswith(f"some: window {window} is smaller than sink {sink} + ")
    assert ("memory" in message) == bool(memory)
    assert f"raise window to at least {needed} " in message
    check_window("some", spec_of(3), needed, sink, memory)


def test_pinned_frames_stand_at_the_top_of_the_trained_range() -> None:
    """Self Gradient Forcing's geometry, for 21 trained frames: sink 0 to 2, latest frames and chunk 12 to 20."""
    cache = FrameCache(spec_of(), window=12, sink=3, positions="relative", pinned_at=20)
    for start, ids, positions, first in (
        (3, [0, 1, 2], [0, 1, 2], 3),
        (15, [0, 1, 2, *range(9, 15)], [0, 1, 2, *range(9, 15)], 15),
        (18, [0, 1, 2, *range(12, 18)], [0, 1, 2, *range(12, 18)], 18),
        (21, [0, 1, 2, *range(15, 21)], [0, 1, 2, *range(12, 18)], 18),
        (963, [0, 1, 2, *range(957, 963)], [0, 1, 2, *range(12, 18)], 18),
    ):
        assert cache.place(ids, At(start, 3, 0, False)) == (positions, first)
