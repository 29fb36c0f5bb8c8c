"""Reading of videos that Horizon did not make: upright, at one rate, in 8 bits of RGB, whole, or refused in one line.

Pictures are those that a player shows: edit lists and frames that are only decoded are left out, rotations and mirrors
are applied, the colour matrix and the range (limited or full) are those of the file, a transparent picture lies on
black, and a film of a variable rate is sampled by time. Only PyAV and numpy are imported here, one picture is held at a
time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import ColorRange, VideoReformatter

from harness.errors import StoreError
from harness.files import ffmpeg
from harness.films.upright import UPRIGHT, Picture, as_shown, has_alpha, shows_through, turning

AS_THEY_ARE = (".mp4", ".mkv", ".webm", ".mov")
"""Files that viewers may read themselves, where nothing about them is special."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range, by their numbers in ITU-T H.273."""
UNEVEN = Fraction(1, 50)
"""Part of the usual time between pictures by which times may differ at a constant rate; containers round them."""
LACKS = 0.5
"""Seconds by which a film may end before the length that its file states."""
MOST_RATE = 240
RATES = [Fraction(number * 1000, 1001) for number in (24, 30, 60, 120)]
"""Rates of television, which are no whole numbers."""


@dataclass(frozen=True)
class Source:
    """What a file holds, found by decoding all of it.

    Parameters
    ----------
    pictures
        Number of pictures at `rate`.
    rate
        Pictures a second at which it is read.
    height, width
        In pixels, upright.
    stored
        Pictures in the file.
    steady
        Whether the file itself has that rate, from its first picture on.
    plain
        Whether every reader gets the same pictures by their number: nothing to turn, to leave out or to lay over black,
        a constant rate, and the only video of a usual container.
    turned
        Whether pictures are turned or mirrored for showing.
    transparent
        Whether any picture shows what is behind it.
    facts
        Container, codec, pixel format, colour range and matrix, bits, audio, as words.
    """

    pictures: int
    rate: Fraction
    height: int
    width: int
    stored: int
    steady: bool
    plain: bool
    turned: bool
    transparent: bool
    facts: dict[str, Any]


def examined(path: Path, rate: Fraction | None = None) -> Source:
    """Return what a file, or a folder of pictures, holds.

    Parameters
    ----------
    path
        The file or folder.
    rate
        Pictures a second, which a folder of pictures needs and which replaces that of other files.

    Raises
    ------
    StoreError
        For a file that cannot be read right: no video, damaged, cut off, HDR, interlaced, of several sizes.
    """
    if path.is_dir():
        return _of_folder(path, rate)
    times: list[Fraction] = []
    sizes: dict[tuple[int, int], None] = {}
    turned = transparent = False
    with _opened(path) as (container, stream):
        facts = _facts(path, container, stream)
        stated, said = _stated(container, stream), stream.average_rate
        tick, converter = Fraction(stream.time_base), VideoReformatter()
        for number, frame in enumerate(container.decode(stream)):
            _check(path, number, frame)
            times.append(_time(path, number, frame))
            turn = turning(frame)
            turned = turned or turn != UPRIGHT
            transparent = transparent or shows_through(frame, converter)
            sizes[frame.height, frame.width] = None
            if len(sizes) > 1:
                (h, w), (height, width) = sizes
                raise StoreError(f"{path}: changes its size from {w}x{h} to {width}x{height} at picture {number}")
    if len(times) < 2:
        raise StoreError(f"{path}: holds {len(times)} picture{'s' * (len(times) != 1)}, which is no video")
    begin = min(times[0], *times)
    if sorted(times) != times or len(set(times)) < len(times):
        raise StoreError(
            f"{path}: the times of its pictures do not rise; write it anew: ffmpeg -i FILE -c:v ffv1 X.mkv"
        )
    usual, steady = _usual(times, tick, said)
    found = rate or usual
    shown = (times[-1] - begin) + (1 / usual)
    if stated is not None and stated - float(shown) > LACKS and float(shown) < 0.98 * stated:
        raise StoreError(
            f"{path}: ends after {float(shown):.1f} of {stated:.1f} s, so it was cut off; copy or export it again"
        )
    height, width = next(iter(sizes))
    if turn.swaps:
        height, width = width, height
    steady = steady and found == usual
    plain = steady and not turned and not facts["alpha"] and path.suffix.lower() in AS_THEY_ARE
    plain = plain and _packets(path) == len(times)
    count = len(times) if steady else max(1, round(shown * found))
    return Source(count, found, height, width, len(times), steady, plain, turned, transparent, facts)


def frames(path: Path, source: Source) -> Iterator[Picture]:
    """Yield the pictures of a file at the rate of `source`, upright, RGB. Raises StoreError for a damaged file."""
    converter = VideoReformatter()
    if path.is_dir():
        for file in _files(path):
            with _opened(file) as (container, stream):
                yield as_shown(next(iter(container.decode(stream))), converter)
        return
    with _opened(path) as (container, stream):
        waiting: Any = None
        begin, given = Fraction(0), 0
        for number, frame in enumerate(container.decode(stream)):
            if source.steady:
                yield as_shown(frame, converter)
                continue
            time = _time(path, number, frame)
            begin = time if number == 0 else begin
            # A picture is shown until the next one comes; at each time of the grid the one on screen is read.
            while waiting is not None and given < source.pictures and _middle(given, source.rate) < time - begin:
                yield as_shown(waiting, converter)
                given += 1
            waiting = frame
        while not source.steady and given < source.pictures:
            yield as_shown(waiting, converter)
            given += 1


def _middle(number: int, rate: Fraction) -> Fraction:
    """Return the middle of the time for which a picture of a constant rate is shown, in seconds."""
    return (number + Fraction(1, 2)) / rate


def _check(path: Path, number: int, frame: Any) -> None:
    """Raise StoreError for a frame that cannot be read right."""
    if frame.is_corrupt:
        raise StoreError(f"{path}: picture {number} is damaged; copy or export it again")
    if frame.interlaced_frame:
        raise StoreError(f"{path}: is interlaced; make whole pictures of it: ffmpeg -i FILE -vf bwdif -c:v ffv1 X.mkv")
    if int(frame.color_trc) in HDR:
        raise StoreError(
            f"{path}: is of high dynamic range ({HDR[int(frame.color_trc)]}), whose colours other films do not have; "
            "convert it to BT.709 first"
        )


def _time(path: Path, number: int, frame: Any) -> Fraction:
    if frame.pts is None or frame.time_base is None:
        raise StoreError(f"{path}: picture {number} has no time; write it anew: ffmpeg -i FILE -c copy NEW.mkv")
    return Fraction(frame.pts * frame.time_base)


def _usual(times: list[Fraction], tick: Fraction, stated: Fraction | None) -> tuple[Fraction, bool]:
    """Return the rate of pictures at these times, and whether it is constant.

    tick: seconds to which the file rounds times. stated: the rate that the file states, which counts where times fit.
    """
    count = len(times) - 1
    mean = (times[-1] - times[0]) / count
    gaps = sorted(later - time for time, later in pairwise(times))
    off = max(abs(time - times[0] - number * mean) for number, time in enumerate(times))
    steady = off <= max(UNEVEN * mean, Fraction(3, 2) * tick)
    gap, doubt = (mean, tick / count) if steady else (gaps[len(gaps) // 2], max(tick, Fraction(1, 1000)))
    named = [*([stated] if stated else []), Fraction(round(1 / gap)), *RATES]
    fits = [rate for rate in named if rate > 0 and abs(1 / rate - gap) <= doubt + gap / 10_000]
    found = fits[0] if fits else (1 / gap).limit_denominator(1000)
    return min(found, Fraction(MOST_RATE)), steady and found <= MOST_RATE


def _stated(container: Any, stream: Any) -> float | None:
    """Return the seconds that a file says it lasts, or None where it says nothing."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    text = stream.metadata.get("DURATION") or stream.metadata.get("duration") or ""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if found:
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    # Another stream, sound for instance, may be longer than the pictures.
    alone = len(container.streams) == 1
    return container.duration / 1_000_000 if container.duration and alone else None


def _facts(path: Path, container: Any, stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    form = context.format
    full = context.color_range == ColorRange.JPEG or (form is not None and form.name.startswith("yuvj"))
    ratio = context.sample_aspect_ratio
    return {
        "container": container.format.name.partition(",")[0],
        "codec": context.name,
        "pixels": form.name if form else "",
        "bits": max((component.bits for component in form.components), default=8) if form else 8,
        "range": "full" if full or (form is not None and form.is_rgb) else "limited",
        "matrix": int(context.colorspace),
        **({"pixel_shape": str(ratio)} if ratio and ratio != 1 else {}),
        "alpha": form is not None and has_alpha(form),
        "audio": bool(container.streams.audio),
    }


def _packets(path: Path) -> int:
    """Return the pictures that the first video of a file has without edit lists; 0 where another one is shown."""
    with _opened(path) as (container, stream):
        if container.streams.video[0].index != stream.index:
            return 0
        return sum(packet.size > 0 for packet in container.demux(stream))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        if path.suffix.lower() == ".gif" and path.read_bytes()[-1:] != b";":
            raise StoreError(f"{path}: has no end, so it was cut off; copy or export it again")
        with av.open(ffmpeg(path)) as container:
            streams = [each for each in container.streams.video if not int(each.disposition) & 0x400]
            if not streams:
                raise StoreError(f"{path}: holds no video")
            stream = max(streams, key=lambda each: each.width * each.height)
            stream.thread_type = "AUTO"
            yield container, stream
    except StoreError as error:
        raise error if str(path) in str(error) else StoreError(f"{path}: {error}") from None
    except (av.FFmpegError, OSError, EOFError) as error:
        words = getattr(error, "strerror", None) or error
        raise StoreError(f"{path}: cannot be read as a video ({words}); copy or export it again") from None


def _files(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of the numbers in their names."""
    found = [each for each in folder.iterdir() if each.suffix.lower() in PICTURES and not each.name.startswith(".")]
    return sorted(found, key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a key by which names are in the order of the numbers in them."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _of_folder(folder: Path, rate: Fraction | None) -> Source:
    files = _files(folder)
    if len(files) < 2:
        raise StoreError(f"{folder}: holds {len(files)} pictures ({', '.join(PICTURES)}), which is no video")
    if rate is None:
        raise StoreError(f"{folder}: pictures in a folder have no rate; give one: --rate 16")
    sizes: dict[tuple[int, int], Path] = {}
    facts: dict[str, Any] = {}
    transparent, converter = False, VideoReformatter()
    for file in files:
        with _opened(file) as (container, stream):
            found = list(container.decode(stream))
            facts = facts or {**_facts(file, container, stream), "container": "folder"}
        if len(found) != 1:
            raise StoreError(f"{file}: holds {len(found)} pictures; a folder has one in a file")
        _check(file, 0, found[0])
        transparent = transparent or shows_through(found[0], converter)
        shown = as_shown(found[0], converter)
        sizes.setdefault((shown.shape[0], shown.shape[1]), file)
        if len(sizes) > 1:
            raise StoreError(f"{file}: is not as large as {next(iter(sizes.values()))}; a film has one size")
    (height, width), *_ = sizes
    return Source(len(files), rate, height, width, len(files), True, False, False, transparent, facts)
