import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch

from harness.errors import StoreError
from harness.films.writer import VideoWriter
from suites.viewers.video_file import beginning, footage, middles, pictures
from tests.suites.filmed import texture, write


@pytest.fixture(scope="module")
def shown():
    return [np.roll(texture(seed=1), 5 * number, 1) for number in range(40)]


@pytest.fixture(scope="module")
def video(shown, tmp_path_factory):
    return write(tmp_path_factory.mktemp("films") / "video.mkv", shown)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A file as a campaign writes it: h264, in fragments."""
    path = tmp_path_factory.mktemp("films") / "played.mp4"
    with VideoWriter(path, 16) as writer:
        writer.write(torch.rand(70, 3, 48, 80, generator=torch.Generator().manual_seed(0)))
    return path


def test_what_a_file_holds(video, played):
    held = footage(video)
    assert (held.frames, held.rate, held.height, held.width) == (40, 4, 32, 48)
    assert footage(played).frames == 70
    assert footage(played).rate == 16


@pytest.mark.parametrize("codec", ["ffv1", "libx264rgb"])
def test_frames_come_by_number_in_the_order_of_showing(codec, shown, tmp_path):
    path = write(tmp_path / "video.mkv", shown, codec=codec)
    found = list(pictures(path, [31, 2, 39, 2, 0]))
    assert [number for number, _ in found] == [0, 2, 31, 39]
    assert all(picture.dtype == np.uint8 and np.array_equal(picture, shown[number]) for number, picture in found)
    assert list(pictures(path, [])) == []


def test_no_more_is_decoded_than_is_asked_for(video, monkeypatch):
    frames = []
    opened = av.open

    class Counting:
        def __init__(self, container):
            self.container, self.streams = container, container.streams

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.container.close()

        def decode(self, stream):
            for frame in self.container.decode(stream):
                frames.append(frame)
                yield frame

    monkeypatch.setattr(av, "open", lambda path: Counting(opened(path)))
    assert len(list(pictures(video, [3, 7]))) == 2
    assert len(frames) == 8


@pytest.mark.nightly
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    code = (
        "import sys; from pathlib import Path; from suites.viewers.video_file import pictures\n"
        "def peak():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))\n"
        "rest = pictures(Path(sys.argv[1]), range(600))\n"
        "for number, _ in rest:\n"
        "    if number == 60: early = peak()\n"
        "print(peak() - early)\n"
    )
    path = write(tmp_path / "video.mkv", [texture(240, 320)] * 600, rate=16, codec="libx264")
    grown = int(
        subprocess.run([sys.executable, "-c", code, path], capture_output=True, encoding="utf-8", check=True).stdout
    )
    # All of them are 135,000 KiB.
    assert grown < 20_000


def test_what_is_not_a_video_says_so_in_one_line(tmp_path):
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.wav"
    text.write_text("not a video\n" * 100, encoding="utf-8")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate, frame.time_base = 8000, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    for path, words in ((text, "cannot be read"), (sound, "holds no video"), (tmp_path / "gone.mp4", "No such file")):
        for read in (footage, lambda path: list(pictures(path, [0]))):
            with pytest.raises(StoreError, match=words) as error:
                read(path)
            assert str(error.value).startswith(str(path))
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_a_truncated_file_never_passes_for_a_whole_one(share, video, played, tmp_path):
    for whole, frames in ((video, 40), (played, 70)):
        path = tmp_path / whole.name
        path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        with suppress(StoreError):
            assert footage(path).frames < frames
        with pytest.raises(StoreError, match="make"):
            list(pictures(path, [0, frames - 1]))


def test_a_damaged_frame_is_not_shown_as_a_picture(played, tmp_path):
    content = bytearray(played.read_bytes())
    first, last = len(content) // 5, 4 * len(content) // 5
    content[first:last] = bytes(last - first)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="make"):
        list(pictures(path, range(70)))


@pytest.mark.parametrize(
    ("start", "end", "rate", "frames"),
    [
        (0, 48, 16, [8, 24, 40]),
        (33, 81, 16, [40, 56, 72]),  # seconds are the video's, not the window's
        (0, 33, 16, [8, 24]),
        (41, 56, 16, [48]),  # no middle of a second in it: its own
        (10, 11, 16, [10]),
        (0, 40, 12.5, [6, 18, 31]),
        (0, 4, 1, [0, 1, 2, 3]),
        (2, 8, 0.5, [2, 3, 4, 5, 6, 7]),
    ],
)
def test_the_frame_in_the_middle_of_each_second(start, end, rate, frames):
    assert middles(start, end, rate) == frames


def test_windows_beside_each_other_share_no_frame_and_miss_no_second():
    ends = [0, 33, 81, 141, 201, 261, 1000]
    found = [frame for start, end in pairwise(ends) for frame in middles(start, end, 16)]
    assert found == middles(0, 1000, 16) == [8 + 16 * second for second in range(62)]


@pytest.mark.parametrize(
    ("reference", "rate", "frames"),
    [
        (80, 16, [8, 24, 40, 56, 72]),
        (33, 16, [8, 24]),
        (9, 16, [4]),
        (1, 16, [0]),
        (160, 16, [16, 48, 80, 112, 144]),
    ],
)
def test_the_beginning_is_shown_by_one_to_five_frames(reference, rate, frames):
    assert beginning(reference, rate) == frames
