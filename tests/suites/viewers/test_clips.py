"""Clips as VBench-Long cuts them."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import StoreError
from harness.files import digest
from harness.films.contract import Film, Span
from suites.viewers.vbench import clips
from suites.viewers.video_file import footage, pictures

GREYS = [20 + 5 * number for number in range(40)]
"""Frame n of the video is of one grey, so that a clip's frames say where they come from."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "some_film.mp4"
    clips.write(path, (np.full((32, 48, 3), grey, dtype=np.uint8) for grey in GREYS), 8)
    return Film("some_film", path, digest(path), "drift", "steady", 40, 8.0, 8, (Span(0, 40, 11),), ())


def greys(path):
    return [round(picture.mean()) for _, picture in pictures(path, range(footage(path).frames))]


@pytest.mark.parametrize(
    ("frames", "rate", "seconds", "expected"),
    [
        (80, 16, 2.0, [(0, 32), (32, 64), (48, 80)]),
        (64, 16, 2.0, [(0, 32), (32, 64)]),
        (33, 16, 2.0, [(0, 32), (1, 33)]),
        (31, 16, 2.0, [(0, 31)]),
        (81, 16, 10.0, [(0, 81)]),
        (20, 16, 0.5, [(0, 8), (8, 16), (12, 20)]),
        (60, 29.97, 1.0, [(0, 29), (29, 58), (31, 60)]),
        (5, 1.0, 0.5, [(0, 2), (2, 4), (3, 5)]),
        (4, 0.5, 0.5, [(0, 2), (2, 4)]),
    ],
)
def test_the_last_clip_borrows(frames, rate, seconds, expected):
    assert clips.spans(frames, rate, seconds) == expected


def test_a_single_frame_is_no_video():
    with pytest.raises(StoreError, match="1 frames cannot be compared"):
        clips.spans(1, 16, 2)


def test_clips_show_their_frames_of_the_video(film, tmp_path):
    found = clips.cut(film, 2.0, tmp_path, "some-film")
    assert [(clip.path.name, clip.film, clip.start, clip.end) for clip in found] == [
        ("some-film_000.mp4", "some_film", 0, 16),
        ("some-film_001.mp4", "some_film", 16, 32),
        ("some-film_002.mp4", "some_film", 24, 40),
    ]
    for clip in found:
        assert footage(clip.path).rate == 8
        assert np.abs(np.subtract(greys(clip.path), GREYS[clip.start : clip.end])).max() <= 3
    assert not list(tmp_path.glob(".*"))


def test_clips_are_cut_once(film, tmp_path):
    found = clips.cut(film, 2.0, tmp_path, "a")
    before = [clip.path.stat().st_mtime_ns for clip in found]
    assert clips.cut(film, 2.0, tmp_path, "a") == found
    assert [clip.path.stat().st_mtime_ns for clip in found] == before
    assert clips.cut(film, 1.0, tmp_path, "a")[0].path.parent != found[0].path.parent


def test_a_short_video_is_one_clip(film, tmp_path):
    (only,) = clips.cut(film, 10.0, tmp_path, "a")
    assert (only.path.name, only.start, only.end) == ("a_full.mp4", 0, 40)


def test_the_same_video_gives_the_same_bytes(tmp_path):
    """Six macroblocks across, where an encoder that may use AVX-512 wrote other bytes every second time."""
    path, noise = tmp_path / "noise.mp4", np.random.default_rng(0)
    coarse = noise.integers(0, 256, (12, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    clips.write(path, (np.roll(coarse, 3 * number, 1) for number in range(40)), 8)
    moving = Film("noise", path, digest(path), "drift", "steady", 40, 8.0, 8, (Span(0, 40, 11),), ())
    made = [clips.cut(moving, 2.0, tmp_path / str(number), "a") for number in range(6)]
    assert len({tuple(digest(clip.path) for clip in cut) for cut in made}) == 1


@pytest.mark.parametrize(
    ("flags", "options"), [("sse2 avx2", {}), ("avx2 avx512f avx512bw", {"x264-params": "asm=avx2"}), (None, {})]
)
def test_the_encoder_leaves_avx512_alone(flags, options, tmp_path, monkeypatch):
    cpu = tmp_path / "cpuinfo"
    if flags is not None:
        cpu.write_text(f"flags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(clips, "CPU", cpu)
    assert clips._options.__wrapped__() == options


def test_first_frames_make_a_video(film, tmp_path):
    found = clips.cut(film, 2.0, tmp_path, "a")
    clips.first_frames(found, tmp_path / "first.mp4")
    assert greys(tmp_path / "first.mp4") == pytest.approx([GREYS[0], GREYS[16], GREYS[24]], abs=3)


def test_names_without_underscores_stay_apart():
    assert clips.plain_name("a shark-0") == "a shark-0"
    plain = [clips.plain_name(name) for name in ("a_b", "a-b", "a/b")]
    assert len(set(plain)) == 3
    assert not any("_" in name or "/" in name for name in plain)


def test_numbers_sort_beyond_a_thousand_clips(film, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "_write_all", lambda *_: None)
    monkeypatch.setattr(clips, "spans", lambda *_: [(number, number + 2) for number in range(1001)])
    names = [clip.path.name for clip in clips.cut(film, 2.0, tmp_path, "a")]
    assert names == sorted(names)
    assert names[-1] == "a_1000.mp4"


def test_what_cannot_be_cut(film, tmp_path):
    with pytest.raises(StoreError, match="changed after its cell was finished"):
        clips.cut(replace(film, sha256="0" * 64), 2.0, tmp_path, "a")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.path.read_bytes()[:300])
    with pytest.raises(StoreError, match="cannot be read as a video"):
        clips.cut(replace(film, path=broken), 2.0, tmp_path, "a")
    with pytest.raises(StoreError, match="odd side"):
        clips.write(tmp_path / "odd.mp4", [np.zeros((31, 48, 3), dtype=np.uint8)], 8)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]
