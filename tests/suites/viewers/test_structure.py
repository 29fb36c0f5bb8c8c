"""Structure within a film by features, and flow across chunk borders, around an encoder and a flow that are made up."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness.films.contract import Act, Film, Span, digest
from suites.film_measures.similarity import consistency
from suites.viewers.perceptual.chunk_flow import ChunkFlow
from suites.viewers.perceptual.structure import ClipStructure, Structure, regular
from tests.suites import fakes
from tests.suites.filmed import write

RATE = 8


class Encoder:
    """Features are the means of nine fields of a picture, centred."""

    short = "clip"

    def __init__(self, short="clip"):
        self.short, self.seen = short, 0

    def remedy(self):
        return None

    def identity(self):
        return {"model": "made up"}

    def encode(self, pixels):
        self.seen += len(pixels)
        return vectors(pixels.numpy()).astype(np.float32)


def vectors(pictures):
    fields = pictures.reshape(len(pictures), 3, 16, 4, 16, 3).mean((2, 4)).reshape(len(pictures), -1) / 255 - 0.5
    return fields / np.linalg.norm(fields, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def shown():
    return fakes.living(3)


@pytest.fixture
def film(shown, tmp_path):
    path = write(tmp_path / "film.mkv", list(shown), RATE)
    windows = (Span(0, 42, 21), Span(42, 240, 120))
    acts = (Act(0, 120, 60, "first", "smooth"), Act(120, 240, 120, "second", "hardcut"))
    return Film("one", path, digest(path), "interactive", "hardcut", 240, RATE, 42, windows, acts, "", 12, 9)


def test_frames_are_half_a_second_apart(film):
    assert regular(film) == list(range(2, 240, 4))


def test_lags_and_anchoring_are_those_of_the_features_two_a_second(film, shown, tmp_path):
    encoder = Encoder("dino")
    made = Structure(encoder, tmp_path / "cache")
    chosen = vectors(shown)[regular(film)]
    for lag in (0.5, 2, 10):
        ((at, value),) = made.look(f"lag_{lag:g}s_dino", film).samples
        apart = round(2 * lag)
        assert at == 120
        expected = np.mean([chosen[n] @ chosen[n + apart] for n in range(60 - apart)])
        assert value == pytest.approx(expected, abs=1e-5)
    assert made.look("lag_60s_dino", film).samples == ((120, None),)
    segments = made.look("dino_10s", film).samples
    assert [at for at, _ in segments] == [40, 80, 120]
    assert [value for _, value in segments] == pytest.approx(
        [consistency(chosen[start : start + 20]) for start in (0, 20, 40)], abs=1e-5
    )
    # Features are computed once, and kept.
    assert encoder.seen == 90
    Structure(encoder, tmp_path / "cache").look("stuck_dino", film)
    assert encoder.seen == 90


def test_clip_f_is_of_neighbours_and_clip_t_of_prompts(film, shown, tmp_path):
    prompts = {"first": np.eye(36)[0], "second": np.eye(36)[1]}
    clip = SimpleNamespace(encoder=Encoder(), prompts=SimpleNamespace(vector=prompts.get))
    made = ClipStructure(clip, tmp_path / "cache")
    all_ = vectors(shown)
    firsts = regular(film)[::2]
    neighbours = [all_[n] @ all_[n + 1] for n in firsts]
    assert made.look("clip_f", film).samples == ((120, pytest.approx(np.mean(neighbours), abs=1e-5)),)
    found = [value for _, value in made.look("clip_f_10s", film).samples]
    assert found == pytest.approx([np.mean(neighbours[n : n + 10]) for n in (0, 10, 20)], abs=1e-5)
    scores = [100 * max(0, all_[n][0 if n < 120 else 1]) for n in regular(film)]
    found = [value for _, value in made.look("clip_t_10s", film).samples]
    assert found == pytest.approx([np.mean(scores[n : n + 20]) for n in (0, 20, 40)], abs=1e-4)


def test_flow_across_borders_is_held_against_flow_inside_of_chunks(film):
    class Flow:
        """Every frame moves by one pixel, the first of a chunk by three."""

        def __init__(self):
            self.asked = []

        def remedy(self):
            return None

        def protocol(self, metric, film):
            return {"method": "made up"}

        def shown(self, picture):
            return picture

        def between(self, before, after):
            self.asked.append((before, after))
            number = len(self.asked)
            return np.full((4, 4, 2), (3 if number % 2 else 1, 0), np.float32)

    made = Flow()
    flow = ChunkFlow(made)
    # Borders at 9, 21, 33, ...; and the middle of each next chunk.
    assert flow.look("chunk_flow", film).samples == ((120, 3.0),)
    assert len(made.asked) == 2 * len(range(9, 240 - 11, 12))
    assert flow.protocol("chunk_flow", film)["film"] == {"chunk": [9, 12]}
    unknown = Film(**{**vars(film), "chunk": 0, "first": 0})
    assert "not known" in flow.look("chunk_flow", unknown).skipped
