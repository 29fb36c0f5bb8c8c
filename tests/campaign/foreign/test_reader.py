"""Forty files of all kinds: read right, or refused in one line."""

import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from harness.errors import StoreError
from harness.films.reader import examined, frames
from tests.campaign.foreign import made

LOSSLESS = {"codec": "libx264rgb", "form": "rgb24", "options": {"crf": "0"}}


def read(path, rate=None):
    source = examined(path, rate)
    return source, list(frames(path, source))


def near(one, other):
    """Mean difference of pictures, of 255 steps."""
    return max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(one, other, strict=True))


KINDS = {
    "h264 mp4": ("a.mp4", {}, 12),
    "h264 mkv": ("a.mkv", {}, 12),
    "h264 mov": ("a.mov", {}, 12),
    "h264 4:4:4": ("a.mp4", {"form": "yuv444p"}, 6),
    "h264 with b-frames": ("a.mp4", {"options": {"bf": "3", "g": "12"}}, 12),
    "h264 lossless": ("a.mp4", LOSSLESS, 0),
    "hevc": ("a.mp4", {"codec": "libx265"}, 14),
    "hevc 10 bit": ("a.mkv", {"codec": "libx265", "form": "yuv420p10le"}, 14),
    "vp8": ("a.webm", {"codec": "libvpx"}, 16),
    "vp9": ("a.webm", {"codec": "libvpx-vp9"}, 16),
    "av1": ("a.mkv", {"codec": "libsvtav1"}, 20),
    "ffv1": ("a.mkv", {"codec": "ffv1", "form": "bgr0"}, 0),
    "ffv1 10 bit": ("a.mkv", {"codec": "ffv1", "form": "yuv444p10le"}, 4),
    "mpeg4": ("a.avi", {"codec": "mpeg4"}, 20),
    "mjpeg": ("a.avi", {"codec": "mjpeg", "form": "yuvj420p"}, 14),
    "prores": ("a.mov", {"codec": "prores_ks", "form": "yuv422p10le"}, 14),
    "gif": ("a.gif", {"codec": "gif", "form": "rgb8"}, 25),
    "with sound": ("a.mp4", {"audio": True}, 12),
    "full range": ("a.mp4", {"form": "yuvj420p"}, 12),
    "fragmented": ("a.mp4", {}, 12),
}


@pytest.mark.parametrize("kind", KINDS)
def test_films_of_many_kinds_are_read(tmp_path, kind):
    name, how, off = KINDS[kind]
    shown = made.pictures()
    try:
        path = made.write(tmp_path / name, shown, **how)
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write {kind}: {error}")
    source, found = read(path)
    assert (source.pictures, source.height, source.width) == (24, 48, 64)
    assert float(source.rate) == pytest.approx(16, rel=0.05 if name.endswith("gif") else 1e-6)
    assert near(found, shown) <= off
    assert source.plain == name.endswith((".mp4", ".mkv", ".mov", ".webm"))
    assert source.facts["audio"] == ("sound" in kind)
    assert source.facts["bits"] == (10 if "10 bit" in kind or kind == "prores" else source.facts["bits"])


@pytest.mark.parametrize("rate", [8, 23.976, 24, 25, 29.97, 30, 50, 60])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rates_are_those_of_the_pictures(tmp_path, rate, suffix):
    source, found = read(made.write(tmp_path / f"a{suffix}", made.pictures(), rate=rate))
    assert float(source.rate) == pytest.approx(rate, rel=2e-4)
    assert source.steady
    assert len(found) == 24


@pytest.mark.parametrize(("quarters", "mirrored"), [(1, False), (2, False), (3, False), (0, True)])
def test_turned_and_mirrored_films_are_upright(tmp_path, quarters, mirrored):
    shown = made.pictures()
    path = made.turn(made.write(tmp_path / "a.mp4", shown, **LOSSLESS), quarters, mirrored)
    source, found = read(path)
    upright = [np.rot90(each[:, ::-1] if mirrored else each, quarters) for each in shown]
    assert near(found, upright) == 0
    assert source.turned
    assert not source.plain
    assert (source.height, source.width) == upright[0].shape[:2]


def test_a_turn_that_is_no_quarter_is_refused(tmp_path):
    path = made.turn(made.write(tmp_path / "a.mp4", made.pictures(), **LOSSLESS), 1)
    data = path.read_bytes()
    place = data.index(b"tkhd") + 44
    path.write_bytes(data[:place] + b"\0\0\x80\0" * 2 + data[place + 8 :])
    with pytest.raises(StoreError, match="angle"):
        examined(path)


@pytest.mark.parametrize(("height", "width"), [(47, 64), (48, 63), (47, 63)])
def test_odd_sides_stay(tmp_path, height, width):
    shown = made.pictures(6, height, width)
    source, found = read(made.write(tmp_path / "a.mkv", shown, codec="ffv1", form="bgr0"))
    assert (source.height, source.width) == (height, width)
    assert near(found, shown) == 0


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_variable_rate_is_sampled_by_time(tmp_path, suffix):
    shown, (times, long) = made.pictures(), made.uneven()
    path = made.write(tmp_path / f"a{suffix}", shown, times=times, **LOSSLESS)
    source, found = read(path)
    assert not source.steady
    assert not source.plain
    assert source.rate == 16
    expected = [picture for picture, count in zip(shown, long, strict=True) for _ in range(count)]
    # The last picture is shown as long as a usual one.
    assert near(found, expected[: len(found)]) == 0
    assert abs(len(found) - len(expected)) <= 2


def test_another_rate_is_sampled_by_time(tmp_path):
    shown = made.pictures()
    source, found = read(made.write(tmp_path / "a.mp4", shown, **LOSSLESS), Fraction(8))
    assert source.pictures == len(found) == 12
    assert near(found, shown[1::2]) == 0 or near(found, shown[::2]) == 0


def test_full_and_limited_range_are_told_apart(tmp_path):
    grey = [np.full((16, 16, 3), value, np.uint8) for value in (0, 128, 255)] * 2
    for form, kind in (("yuvj420p", "full"), ("yuv420p", "limited")):
        source, found = read(made.write(tmp_path / f"{kind}.mp4", grey, form=form, options={"crf": "1"}))
        assert near(found, grey) <= 2
        assert source.facts["range"] == kind


def test_what_is_transparent_lies_on_black(tmp_path):
    shown = made.pictures(6)
    path = made.write(tmp_path / "a.mov", shown, codec="png", form="rgba", alpha=128)
    source, found = read(path)
    assert source.transparent
    assert near(found, [np.uint8((each.astype(int) * 128 + 127) // 255) for each in shown]) == 0
    opaque, found = read(made.write(tmp_path / "b.mov", shown, codec="png", form="rgba", alpha=255))
    assert not opaque.transparent
    assert near(found, shown) == 0


@pytest.mark.parametrize(("suffix", "off"), [(".png", 0), (".bmp", 0), (".jpg", 12)])
def test_folders_of_pictures_are_films_in_the_order_of_their_numbers(tmp_path, suffix, off):
    shown = made.pictures(12)
    path = made.folder(tmp_path / "film", shown, suffix)
    source, found = read(path, Fraction(16))
    assert (source.pictures, source.rate) == (12, 16)
    assert near(found, shown) <= off
    with pytest.raises(StoreError, match="--rate"):
        examined(path)


def test_an_edit_list_is_followed(tmp_path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    whole = made.write(tmp_path / "whole.mp4", made.pictures(48), options={"g": "48", "bf": "0"})
    path = tmp_path / "part.mp4"
    # Copied from the middle of a group: the first pictures are only decoded, and an edit list leaves them out.
    command = [ffmpeg, "-v", "error", "-ss", "1", "-i", whole, "-c", "copy", path]
    subprocess.run(command, check=True)
    source, found = read(path)
    _, all_ = read(whole)
    assert not source.plain
    assert 30 <= len(found) <= 33
    assert near(found, all_[-len(found) :]) == 0


DAMAGES = {
    "mp4 without an end": (made.cut_off, "a.mp4", {}),
    "mkv without an end": (made.cut_off, "a.mkv", {}),
    "webm without an end": (made.cut_off, "a.webm", {"codec": "libvpx"}),
    "gif without an end": (lambda path: made.cut_off(path, 0.7), "a.gif", {"codec": "gif", "form": "rgb8"}),
    "mov without an end": (lambda path: made.cut_off(path, 0.9), "a.mov", {}),
    "scratched ffv1": (made.scratched, "a.mkv", {"codec": "ffv1", "form": "bgr0"}),
    "one picture": (lambda path: made.write(path, made.pictures(1)), "a.mp4", {}),
    "no video": (lambda path: path.write_text("not a video", encoding="utf-8"), "a.mp4", {}),
    "empty": (lambda path: path.write_bytes(b""), "a.mp4", {}),
    "HDR": (lambda path: None, "a.mkv", {"codec": "libx265", "form": "yuv420p10le", "color_trc": 16}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_right_is_refused_in_one_line(tmp_path, damage):
    harm, name, how = DAMAGES[damage]
    path = made.write(tmp_path / name, made.pictures(48), **how)
    harm(path)
    with pytest.raises(StoreError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(StoreError, match=str(path)):
            examined(path, Fraction(16))


@pytest.mark.parametrize("kind", ["h264 mp4", "h264 4:4:4", "h264 with b-frames", "hevc", "hevc 10 bit", "vp9", "ffv1",
                                  "mpeg4", "full range", "vp8"])  # fmt: skip
def test_pictures_are_those_that_ffmpeg_decodes(tmp_path, kind):
    """Plane by plane, before any conversion of colours."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    name, how, _ = KINDS[kind]
    path = made.write(tmp_path / name, made.pictures(), **how)
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    form = decoded[0].format.name
    command = [ffmpeg, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", form, "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    if form != "bgr0":
        assert b"".join(frame.to_ndarray().tobytes() for frame in decoded) == raw
    # And what is read is the conversion of these very frames.
    _, found = read(path)
    assert near(found, [frame.to_ndarray(format="rgb24") for frame in decoded]) == 0
    if form == "bgr0":
        assert near(found, list(np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 4)[..., 2::-1])) == 0
