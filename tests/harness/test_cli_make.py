"""`horizon sample` and `horizon train`, as typed."""

import os
import signal
import subprocess
import sys
import time

import av
import matplotlib.image
import pytest

from tests.killing import interruptible

MAIN = "from harness.cli import main; main()"


def horizon(*arguments, cwd):
    environment = os.environ | {"COLUMNS": "200"}
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


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


def test_sample_stopped_by_ctrl_c_keeps_what_it_made(tmp_path):
    command = [sys.executable, "-c", MAIN, "sample", "a thing", "--seconds", "100000", "--out", "deep/down/v.mp4"]
    process = interruptible(command, tmp_path)
    part, deadline = tmp_path / "deep/down/v.part.mp4", time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "deep/down/v.mp4" in out
    assert length(tmp_path / "deep/down/v.mp4") > 4
    assert not part.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "a red dics"], "does not know the word 'dics'; nearest: disc"),
        (["sample", "a disc [3s] | cut to a cross [3s] | back to a square"], "returns to a scene that was never there"),
        (["train", "pocket", "--device", "tpu"], "device 'tpu' is not here; allowed: cpu"),
        (["sample", "a disc", "--seconds", "0"], "a video of 0 s cannot be"),
        (["sample", "a disc", "--strategy", "memrop"], "did you mean 'memrope'"),
        (["sample", "a disc", "--backbone", "wan"], "no backbones entry is called 'wan'"),
        (["sample", "a disc", "--device", "tpu"], "device 'tpu' is not here; allowed: cpu"),
        (["sample", "a disc", "--out", "v.avi"], "give a name that ends in .mp4"),
        (["sample", "a disc", "--out", "taken/v.mp4"], "cannot make the folder taken"),
        (["sample", "a disc [3 sec] | now a cross"], "scene 1 (from character 1): cannot read the mark [3 sec]"),
        (["sample", "a disc [9s] | now a cross", "--seconds", "5"], "ends before its last scene, 'now a cross'"),
        (["train", "memory"], "nothing called 'memory' can be trained; allowed: echo_infinity, pocket, videomla"),
        (["train", "videomla.latent=999"], "latent 999 is wider than the model; allowed here: 1 to 128"),
        (["train", "pocket", "--backbone", "wan-1.3b"], "the pocket is trained as it is, not pocket for wan-1.3b"),
        (["train", "pocket", "--stage", "first"], "no stage 'first'; allowed: drawing, foundation, memories, probe"),
        (["train", "pocket", "--stage", "memories"], "foundation/model.safetensors: no such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, says):
    (tmp_path / "taken").write_text("a file")
    done = horizon(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*.mp4"))
