"""`horizon sample` and `horizon train`, as typed."""

import os
import signal
import subprocess
import sys
import time

import av
import matplotlib.image
import pytest

from harness.pocket.recipe import ORDER
from tests.killing import interruptible
from tests.zygote import run

MAIN = "from harness.cli import main; main()"


def horizon(*arguments, cwd):
    return run(["-c", MAIN, *arguments], cwd=cwd, env=os.environ | {"COLUMNS": "200"})


def length(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_sample_makes_a_video_and_a_filmstrip(tmp_path):
    done = horizon("sample", "a red disc [3s] | now a white cross [3s]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 s of video: sample.mp4, sample.png" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.mp4", "sample.png"]
    assert length(tmp_path / "sample.mp4") == 24
    picture = matplotlib.image.imread(tmp_path / "sample.png")
    assert picture.shape[1] > 3 * picture.shape[0]
    assert picture[..., :3].std() > 0.1


def test_a_bar_without_lengths_is_told_of(tmp_path):
    done = horizon("sample", "a thing | a disc", cwd=tmp_path)
    assert done.returncode == 2
    assert "one prompt, including its bars; bars separate scenes if a scene has a length: 'a thing [10s]" in done.stdout
    assert done.stderr == "horizon: the pocket does not know the word '|'; " + done.stderr.partition("; ")[2]
    assert not list(tmp_path.iterdir())


def test_a_switch_that_is_not_the_published_one_is_told_of(tmp_path):
    for prompt, told in (("a thing [2.25s] | a disc [1.5s]", 1), ("a thing [1.5s]", 0)):
        done = horizon("sample", prompt, "--strategy", "memflow.sma=true", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the released replay at a prompt switch cannot be had") == told


def test_sample_stopped_by_ctrl_c_keeps_what_it_made(tmp_path):
    command = [sys.executable, "-c", MAIN, "sample", "a thing", "--seconds", "100000", "--out", "deep/down/v.mp4"]
    process = interruptible(command, tmp_path)
    part, deadline = tmp_path / "deep/down/v.0000.part.mp4", time.monotonic() + 240
    # Every picture is a fragment of its own.
    while not (part.exists() and part.read_bytes().count(b"moof") > 4):
        assert time.monotonic() < deadline, "no picture was written"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "deep/down/v.mp4" in out
    assert length(tmp_path / "deep/down/v.mp4") > 4
    assert sorted(path.name for path in part.parent.iterdir()) == ["v.mp4", "v.png"]


NEIGHBOURS = """
import sys, torch
from pathlib import Path
from harness.films.writer import VideoWriter, writing
with writing(Path("v1.5.mp4")), VideoWriter(Path("v1.5.mp4"), 4) as video:
    video.write(torch.rand(2, 3, 24, 24))
    print("writes", flush=True)
    sys.stdin.readline()
    video.write(torch.rand(2, 3, 24, 24))
"""


@pytest.mark.nightly
def test_two_processes_never_mix_their_videos(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", NEIGHBOURS],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert other.stdout.readline() == "writes\n"
    there = {path.name for path in tmp_path.glob("v1.5.*.part.mp4")}
    # The same path is refused with the path, and nothing of it is touched.
    refused = horizon("sample", "a disc", "--seconds", "3", "--out", "v1.5.mp4", cwd=tmp_path)
    said = "horizon: v1.5.mp4: another process is writing this video; give --out another name\n"
    assert (refused.returncode, refused.stderr) == (2, said)
    # One whose name begins alike, and one whose name would be a pattern, leave it alone.
    for name in ("v1.mp4", "v[1].mp4"):
        done = horizon("sample", "a disc", "--seconds", "3", "--out", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert length(tmp_path / name) == 12
    assert {path.name for path in tmp_path.glob("v1.5.*.part.mp4")} == there
    other.communicate("\n", timeout=60)
    assert other.returncode == 0
    assert length(tmp_path / "v1.5.mp4") == 4
    assert not list(tmp_path.glob("*.part.*"))
    assert not list(tmp_path.glob(".*.lock"))


BROKEN = """
import torch
from harness.pocket import preset
whole = preset.pocket
def broken(device="cpu", dtype="float32"):
    backbone = whole(device, dtype)
    decoder = backbone.codec.decoder
    def late():
        decode, seen = decoder(), []
        def decoded(latents):
            seen.append(latents)
            return decode(latents) * (1 if len(seen) < 3 else torch.nan)
        return decoded
    backbone.codec.decoder = late
    return backbone
preset.pocket = broken
"""


def test_pictures_that_are_no_numbers_are_told_of_and_not_filmed(tmp_path):
    done = run(["-c", BROKEN + MAIN, "sample", "a thing", "--seconds", "6"], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "pictures are not finite from latent frame 6 (1.5 s) on; the video ends there" in done.stdout
    assert length(tmp_path / "sample.mp4") == 6


def test_full_attention_beyond_its_training_is_told_of(tmp_path):
    done = horizon("sample", "a thing", "--strategy", "full", "--seconds", "12", cwd=tmp_path)
    assert done.returncode == 0
    assert "full keeps every frame; beyond the 36 latent frames of its training it is not defined" in done.stdout
    assert (
        "keeps every frame"
        not in horizon("sample", "a thing", "--strategy", "full", "--seconds", "6", cwd=tmp_path).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "a red dics"], "does not know the word 'dics'; nearest: disc"),
        (["sample", "a disc", "--seconds", "0"], "0 is not a number of seconds above 0"),
        (["sample", "a disc [3s] | cut to a cross [3s] | back to a square"], "returns to a scene that was never there"),
        (["train", "pocket", "--device", "tpu"], "device 'tpu' is not available; allowed: cpu"),
        (["sample", "a disc", "--strategy", "memrop"], "did you mean 'memrope'"),
        (["sample", "a disc", "--backbone", "wan"], "no backbones entry is called 'wan'"),
        (["sample", "a disc", "--device", "tpu"], "device 'tpu' is not available; allowed: cpu"),
        (["sample", "a disc", "--out", "v.avi"], "give a name that ends in .mp4"),
        (["sample", "a disc", "--out", "taken/v.mp4"], "cannot write taken/v.mp4: taken is not a folder"),
        (["sample", "a disc [3 sec] | now a cross"], "scene 1 (from character 1): cannot read the mark [3 sec]"),
        (["sample", "a disc [9s] | now a cross", "--seconds", "5"], "ends before its last scene, 'now a cross'"),
        (["train", "memory"], "nothing called 'memory' can be trained; allowed: echo_infinity, pocket, videomla"),
        (["train", "videomla.latent=999"], "latent 999 is wider than the model; allowed here: 1 to 128"),
        (["train", "pocket", "--backbone", "wan-1.3b"], "so pocket for wan-1.3b cannot be trained"),
        (["train", "pocket", "--stage", "first"], f"no stage 'first'; allowed: {', '.join(ORDER)}"),
        (["train", "pocket", "--stage", "memories"], "foundation/model.safetensors: no such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, says):
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    done = horizon(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*.mp4"))
