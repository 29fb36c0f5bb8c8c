import contextlib
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import torch

from harness import registry
from harness.errors import PresetError
from harness.films.writer import VideoWriter, read_about, writing
from harness.rollout.sample import sample, script_of
from suites.viewers.video_file import footage
from suites.viewers.video_file import pictures as shown


@pytest.fixture(scope="module")
def backbone():
    return registry.backbone("pocket")


def pieces(backbone, seconds=3.0, text="a red disc", **more):
    return list(sample(backbone, registry.strategy("memrope"), script_of(backbone, text, seconds), **more))


def frames_in(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_comes_in_chunks_of_its_length(backbone):
    made = pieces(backbone, 2.9)
    assert [piece.seconds for piece in made] == [0, 0.75, 1.5, 2.25]
    assert sum(len(piece.pictures) for piece in made) == 12
    assert made[0].pictures.shape[1:] == (3, 32, 32)


def test_the_seed_decides(backbone):
    one, same, other = (torch.cat([p.pictures for p in pieces(backbone, seed=seed)]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_switch_changes_what_comes_after_it(backbone):
    plain = torch.cat([piece.pictures for piece in pieces(backbone)])
    switched = torch.cat([p.pictures for p in pieces(backbone, text="a red disc [1.5s] | now a blue disc")])
    assert torch.equal(plain[:6], switched[:6])
    assert not torch.equal(plain[6:], switched[6:])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_lengths_that_cannot_be(backbone, seconds):
    with pytest.raises(PresetError, match="positive number of seconds"):
        pieces(backbone, seconds)


def test_a_scene_beyond_the_end_is_refused(backbone):
    with pytest.raises(PresetError, match=r"3 s ends before its last scene, 'now a blue disc', begins at 3.75 s"):
        pieces(backbone, text="a red disc [4s] | now a blue disc")


def test_a_script_is_as_long_as_it_says_and_a_prompt_thirty_seconds(backbone):
    assert script_of(backbone, "a disc").frames == 120
    assert script_of(backbone, "a disc [3s]").frames == 12
    assert script_of(backbone, "a disc [3s] | now a cross [3s]", 9).frames == 36


def test_a_backbone_without_words_is_refused():
    with pytest.raises(PresetError, match="no text encoder and codec"):
        pieces(registry.backbone("wan-1.3b", device="meta"))


def test_videos_hold_every_frame_enlarged(tmp_path):
    pictures = torch.rand(7, 3, 24, 24).round()
    with VideoWriter(tmp_path / "v.mp4", 4.0, enlarge=True) as video:
        video.write(pictures[:3])
        assert not (tmp_path / "v.mp4").exists()
        video.write(pictures[3:])
    frames = frames_in(tmp_path / "v.mp4")
    assert len(frames) == 7
    assert frames[0].shape == (384, 384, 3)
    # Grey, because the file keeps colours at half the resolution.
    for frame, picture in zip(frames, pictures, strict=True):
        seen = torch.from_numpy(frame[8::16, 8::16].copy()).float().mean(-1) / 255
        assert (seen - picture.mean(0)).abs().mean() < 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_a_video_without_pictures_leaves_nothing(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", 4.0):
        pass
    assert not list(tmp_path.iterdir())


def test_a_colon_in_a_path_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("c:1/2026-11-26T17:05.mp4")
    with VideoWriter(path, 4.0, about={"title": "a disc"}) as video:
        video.write(torch.rand(2, 3, 24, 24))
        video.cut()
        video.write(torch.rand(1, 3, 24, 24))
    assert footage(path).frames == len(list(shown(path, range(3)))) == 3
    assert read_about(path) == {"title": "a disc"}


def test_no_film_has_the_name_of_a_piece_of_another(tmp_path):
    for name in ("x.0000.part.mp4", "x.10000.part.mp4"):
        with pytest.raises(PresetError, match=r"reserved for pieces of videos that are being written; give --out"):
            writing(tmp_path / name).__enter__()
    for name in ("x.000.part.mp4", "x.part.mp4", "x.0000.mp4"):
        (tmp_path / name).touch()
        with writing(tmp_path / name):
            pass
    with VideoWriter(tmp_path / "x.mp4", 4.0):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"x.000.part.mp4", "x.part.mp4", "x.0000.mp4"}


def test_what_a_kill_leaves_can_be_played(tmp_path):
    code = (
        "import sys, time, torch\nfrom pathlib import Path\nfrom harness.films.writer import VideoWriter\n"
        "video = VideoWriter(Path(sys.argv[1]), 4.0)\n"
        "while True: video.write(torch.rand(8, 3, 24, 24)); print(video.frames, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "v.mp4")], stdout=subprocess.PIPE, encoding="utf-8"
    )
    deadline = time.monotonic() + 120
    while int(process.stdout.readline()) < 400 and time.monotonic() < deadline:
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    played = 0
    with av.open(str(tmp_path / "v.0000.part.mp4")) as container, contextlib.suppress(av.error.InvalidDataError):
        # The frame that was being written is cut short; a player shows everything before it.
        for _ in container.decode(video=0):
            played += 1
    assert played >= 399
