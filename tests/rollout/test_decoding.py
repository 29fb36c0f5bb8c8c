"""Decoding beside the passes of the next chunk: the same pictures, and streams that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from harness import registry
from harness.errors import NotFiniteError
from harness.films.decoding import Decoding, _stream
from harness.rollout import rollout
from harness.rollout.sample import Piece, sample, script_of
from suites.cost_suite import streamed
from suites.fps import Fps, _rates
from tests.rollout.test_sample import frames_in
from tests.suites.test_film_observer import FRAMES, filmed, noise

CUDA = torch.device("cuda")


class Streams:
    """Streams of a device that computes at once; `told` is what was asked of them, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.now = "passes"

    def side(self, device: torch.device) -> Stream:
        assert device.type == "cuda"
        return Stream(self, "decoder")

    def current(self, device: torch.device) -> Stream:
        assert device.type == "cuda"
        return Stream(self, self.now)

    @contextmanager
    def on(self, stream: Stream | None) -> Iterator[None]:
        before, self.now = self.now, self.now if stream is None else stream.name
        yield
        self.now = before


class Stream:
    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name

    def wait_stream(self, other: Stream) -> None:
        self.streams.told.append((self.name, "waits for", other.name))

    def wait_event(self, event: Event) -> None:
        self.streams.told.append((self.name, "waits for", event.of))

    def record_event(self) -> Event:
        return Event(self.streams, f"{self.name} at {len(self.streams.told)}")


class Event:
    def __init__(self, streams: Streams, of: str) -> None:
        self.streams, self.of = streams, of

    def synchronize(self) -> None:
        self.streams.told.append(("host", "waits for", self.of))


class Counting:
    """A decoder whose pictures are the number of the chunk."""

    def __init__(self, streams: Streams | None = None) -> None:
        self.streams, self.at = streams, 0

    def __call__(self, latents: Tensor) -> Tensor:
        self.at += 1
        if self.streams is not None:
            self.streams.told.append((self.streams.now, "decodes", str(self.at)))
        return torch.full((1, 4, 3, 8, 8), float(self.at))

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    made, whole = Streams(), torch.empty_like

    def record_stream(tensor: Tensor, stream: Stream) -> None:
        made.told.append((stream.name, "reads", str(tensor.ndim)))

    def empty_like(like: Tensor, pin_memory: bool = False, **more: Any) -> Tensor:
        return whole(like, **more)

    _stream.cache_clear()
    monkeypatch.setattr("torch.cuda.Stream", made.side)
    monkeypatch.setattr("torch.cuda.current_stream", made.current)
    monkeypatch.setattr("torch.cuda.stream", made.on)
    monkeypatch.setattr("torch.Tensor.record_stream", record_stream)
    monkeypatch.setattr("torch.empty_like", empty_like)
    yield made
    _stream.cache_clear()


def test_the_decoder_waits_for_the_passes_and_the_passes_for_nothing_until_pictures_are_taken(streams: Streams) -> None:
    decoding = Decoding(Counting(streams), CUDA)
    first = decoding.start(torch.zeros(1, 3, 16, 2, 2))
    begun = [("decoder", "waits for", "passes"), ("decoder", "decodes", "1"), ("decoder", "reads", "5")]
    assert streams.told == begun
    second = decoding.start(torch.zeros(1, 3, 16, 2, 2))
    del streams.told[:]
    assert (float(first().pictures.mean()), float(second().pictures.mean())) == (1, 2)
    assert streams.told == [
        ("passes", "waits for", "decoder at 2"),
        ("passes", "reads", "5"),
        ("passes", "reads", "0"),
        ("passes", "waits for", "decoder at 5"),
        ("passes", "reads", "5"),
        ("passes", "reads", "0"),
    ]


@pytest.mark.usefixtures("streams")
def test_all_decoders_of_a_device_share_a_stream() -> None:
    assert Decoding(Counting(), CUDA).stream is Decoding(Counting(), CUDA).stream


def test_pictures_for_the_host_make_the_host_wait_and_no_pass(streams: Streams) -> None:
    decoding = Decoding(Counting(streams), CUDA, to_host=True)
    take = decoding.start(torch.zeros(1, 3, 16, 2, 2))
    del streams.told[:]
    assert float(take().pictures.mean()) == 1
    assert streams.told == [("host", "waits for", "decoder at 2")]


def test_a_state_is_taken_after_what_was_begun_and_restored_on_the_decoder_s_stream(streams: Streams) -> None:
    decoder = Counting(streams)
    decoding = Decoding(decoder, CUDA)
    decoding.start(torch.zeros(1, 3, 16, 2, 2))
    state = decoding.state_dict()
    assert streams.told[-1] == ("passes", "waits for", "decoder")
    other = Decoding(Counting(streams), CUDA)
    other.load_state_dict(state)
    assert float(other.start(torch.zeros(1, 3, 16, 2, 2))().pictures.mean()) == 2


def test_on_a_cpu_chunks_are_decoded_at_once() -> None:
    decoder = Counting()
    decoding = Decoding(decoder, torch.device("cpu"))
    assert not decoding.beside
    take = decoding.start(torch.zeros(1, 3, 16, 2, 2))
    assert decoder.at == 1
    assert float(take().pictures.mean()) == 1


def beside(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let a module decode as on a CUDA device."""
    monkeypatch.setattr(f"{module}.Decoding", lambda decoder, device, **more: Decoding(decoder, CUDA, **more))


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("stop", [None, 4])
def test_a_film_is_the_same_also_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    pictures = noise()
    plain = filmed(tmp_path / "plain", pictures)
    beside(monkeypatch, "suites.observers.film")
    other = filmed(tmp_path / "beside", pictures, stop=stop)
    assert other.samples() == plain.samples()
    for name, values in plain.pictures().items():
        np.testing.assert_array_equal(other.pictures()[name], values)
    assert len(frames_in(tmp_path / "beside/0.mp4")) == len(frames_in(tmp_path / "plain/0.mp4")) == 4 * FRAMES - 3


@pytest.mark.usefixtures("streams")
def test_pictures_that_are_no_numbers_are_named_by_their_own_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(monkeypatch, "suites.observers.film")
    pictures = noise()
    pictures[:, 30] = torch.nan
    with pytest.raises(NotFiniteError, match="from latent frame 6 on"):
        filmed(tmp_path, pictures)


@pytest.mark.usefixtures("streams")
def test_a_sample_has_the_same_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pocket = registry.backbone("pocket")

    def pieces() -> list[Piece]:
        return list(sample(pocket, registry.strategy("sliding_window"), script_of(pocket, "a red disc", 3.0)))

    plain = pieces()
    beside(monkeypatch, "harness.rollout.sample")
    for piece, expected in zip(pieces(), plain, strict=True):
        assert piece.seconds == expected.seconds
        assert torch.equal(piece.pictures, expected.pictures)


@pytest.mark.usefixtures("streams")
def test_a_sample_that_fails_gives_what_was_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    beside(monkeypatch, "harness.rollout.sample")
    pocket, made = registry.backbone("pocket"), []
    true = rollout

    def failing(*words: Any, **options: Any) -> Iterator[Any]:
        for number, chunk in enumerate(true(*words, **options)):
            if number == 2:
                raise NotFiniteError("broken")
            yield chunk

    monkeypatch.setattr("harness.rollout.sample.rollout", failing)
    with pytest.raises(NotFiniteError, match="broken"):
        made.extend(sample(pocket, registry.strategy("sliding_window"), script_of(pocket, "a red disc", 3.0)))
    pieces = sample(pocket, registry.strategy("sliding_window"), script_of(pocket, "a red disc", 3.0))
    assert [next(pieces).seconds, next(pieces).seconds] == [0, 0.75]


def test_the_stream_s_rate_is_that_of_its_pictures() -> None:
    pocket = registry.backbone("pocket")
    suite = Fps()
    short = replace(suite.tasks(pocket, "gate")[0], frames=24)
    found = streamed(pocket, registry.strategy("sliding_window"), short)
    assert [end for end, _ in found] == [6, 9, 12, 15, 18, 21, 24]
    assert all(seconds > 0 for _, seconds in found)
    ends = [3, 6, 9, 12]
    curves = {
        "chunk_seconds": pd.Series(1.0, ends),
        "decode_seconds": pd.Series(0.5, ends),
        "stream_seconds": pd.Series([9.0, 1.25, 1.25], ends[1:]),
        "steady_from": pd.Series([6], [12]),
        "pixel_frames": pd.Series([45], [12]),
        "whole_seconds": pd.Series([20.0], [12]),
        "start_seconds": pd.Series([2.0], [3]),
    }
    assert _rates(curves)["stream_fps"] == pytest.approx(24 / 2.5)
    del curves["stream_seconds"]
    assert _rates(curves)["stream_fps"] == pytest.approx(24 / 3)
