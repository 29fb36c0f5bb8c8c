"""Clips of fixed length, cut and encoded as VBench-Long does it.

A clip is `seconds` of a video. The last one begins early enough to have full length, and a video that is shorter than a
clip is one clip. Clips are encoded again (h264, yuv420p, the encoder's default quality), lossily, as in the official
tool, so scores are those of the encoded pictures. Three things differ, none of which changes a number:

- Lengths are counted in frames and are at least two. The official tool rounds them to whole seconds first, so that a
  clip length of 0.5 s divides by zero.
- Names have a single underscore, before the number. The official tool takes the text before the first underscore as the
  video's name; where that is wrong, it silently drops the clip-to-clip term.
- Numbers have enough digits for an alphabetical sort. The official tool uses three, so that from the thousandth clip on
  first frames are compared in a wrong order.

Paper: VBench++, arXiv:2411.13503.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import av

from harness.errors import StoreError
from harness.files import ffmpeg
from harness.films.contract import Film, check_file
from suites.viewers.video_file import Footage, Picture, footage, pictures

if TYPE_CHECKING:
    from collections.abc import Callable

CUSTOM_SECONDS = 2.0
"""Length of a clip in custom mode, in seconds."""
SHORTEST = 2
"""Fewest frames of a clip, since consistency compares neighbours."""
ENCODER_THREADS = 4
"""Fixed, because x264's output depends on it."""
INSTRUCTIONS = "avx2"
"""The newest x86 instructions that x264 may use. With AVX-512 its macroblock tree sometimes writes other motion vectors
for the same pictures, also with one thread (x264 as in PyAV 18.1)."""
ENCODING = (
    f"libx264, yuv420p, default quality, {ENCODER_THREADS} threads, {INSTRUCTIONS} at most, PyAV {av.__version__}"
)
"""Encoding of clips, for the record."""
CPU = Path("/proc/cpuinfo")
"""File that lists the processor's instructions, on Linux."""


@dataclass(frozen=True)
class Clip:
    """A clip of a video: its file, and the video's frames from `start` to before `end`."""

    path: Path
    film: str
    start: int
    end: int


def spans(frames: int, rate: float, seconds: float) -> list[tuple[int, int]]:
    """Return where clips begin and end, in frames; fractions of the rate are dropped, as in the official tool.

    Raises StoreError for a video of fewer frames than the shortest clip.
    """
    if frames < SHORTEST:
        raise StoreError(f"{frames} frames cannot be compared with one another; make a longer video")
    length = max(SHORTEST, int(int(rate) * seconds))
    if frames < length:
        return [(0, frames)]
    starts = list(range(0, frames - length + 1, length))
    if frames % length:
        starts.append(frames - length)
    return [(start, start + length) for start in starts]


def plain_name(text: str) -> str:
    """Return a name for VBench-Long: without underscores and slashes, and with a suffix that keeps names distinct."""
    plain = text.replace("_", "-").replace("/", "-")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def cut(film: Film, seconds: float, folder: Path, name: str) -> list[Clip]:
    """Return the clips of a video, in order; existing ones are not cut again. name: prefix of their files.

    Raises StoreError for a file that is damaged, differs from the list of films, or has an odd side.
    """
    key = hashlib.sha256(f"{film.sha256} {seconds} {name} {ENCODING}".encode()).hexdigest()[:16]
    home = folder / key
    whole = footage(film.path)
    places = spans(whole.frames, whole.rate, seconds)
    digits = max(3, len(str(len(places) - 1)))
    clips = [
        Clip(
            home / f"{name}_{'full' if places == [(0, whole.frames)] else f'{number:0{digits}d}'}.mp4", film.id, *place
        )
        for number, place in enumerate(places)
    ]
    if not home.is_dir():
        check_file(film)
        beside = folder / f".{key}.{os.getpid()}"
        try:
            beside.mkdir(parents=True)
            _write_all(film.path, whole, [(beside / clip.path.name, clip.start, clip.end) for clip in clips])
            os.replace(beside, home)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return clips


def first_frames(clips: Iterable[Clip], path: Path) -> None:
    """Write the first frames of clips as one video for the fast branch: read from the clips, and encoded once more."""
    listed = list(clips)
    what = footage(listed[0].path)
    with _encoder(path, what) as add:
        for clip in listed:
            for _, picture in pictures(clip.path, [0]):
                add(picture)


def write(path: Path, frames: Iterable[Picture], rate: float) -> None:
    """Write pictures as a video, encoded as clips are. rate: frames a second."""
    waiting = iter(frames)
    first = next(waiting)
    with _encoder(path, Footage(0, rate, *first.shape[:2])) as add:
        add(first)
        for picture in waiting:
            add(picture)


def _write_all(film: Path, what: Footage, places: list[tuple[Path, int, int]]) -> None:
    """Cut in one pass over a video; at most two clips are open at a time, the last one and the one it overlaps."""
    coming, running = deque(places), {}
    with ExitStack() as unfinished:
        for number, picture in pictures(film, range(what.frames)):
            while coming and coming[0][1] == number:
                path, _, end = coming.popleft()
                stack = unfinished.enter_context(ExitStack())
                running[path] = end, stack, stack.enter_context(_encoder(path, what))
            for path, (end, stack, add) in list(running.items()):
                add(picture)
                if number == end - 1:
                    stack.close()
                    del running[path]


@cache
def _options() -> dict[str, object]:
    """Return options of x264 with which equal pictures give equal bytes; see `INSTRUCTIONS`."""
    try:
        newer = "avx512" in CPU.read_text(encoding="utf-8")
    except OSError:
        newer = False
    # Set only where AVX-512 is listed: x264 does not check that the processor has the instructions named here.
    return {"x264-params": f"asm={INSTRUCTIONS}"} if newer else {}


@contextmanager
def _encoder(path: Path, what: Footage) -> Iterator[Callable[[Picture], None]]:
    if what.height % 2 or what.width % 2:
        raise StoreError(
            f"{path.name}: {what.width}x{what.height} has an odd side, which VBench-Long's clips cannot have; "
            "make videos with even sides"
        )
    with av.open(ffmpeg(path), "w") as container:
        # The official tool drops fractions of the rate here, too.
        stream = container.add_stream("libx264", rate=max(1, int(what.rate)))
        stream.width, stream.height, stream.pix_fmt = what.width, what.height, "yuv420p"
        stream.codec_context.thread_count = ENCODER_THREADS
        stream.options = _options()

        def add(picture: Picture) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

        yield add
        container.mux(stream.encode())
