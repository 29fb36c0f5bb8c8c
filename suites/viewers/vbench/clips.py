"""Clips of fixed length, cut and written as VBench-Long cuts and writes them.

A clip is `seconds` of a video; the last one begins early enough to be full, and a video that is shorter than a clip is
one clip. Clips are encoded anew (h264, yuv420p, the encoder's default quality), lossily, as the official tool does it:
scores are of what is left then. Three things differ, none of them in a number:

- Lengths are counted in frames and are at least two. The official tool makes whole seconds of them first, so that a
  clip length of 0.5 s divides by zero.
- Names hold no underscore but the one before the number. The official tool takes what stands before the first
  underscore for the video's name, and where that is wrong the clip-to-clip term is dropped without a word.
- Numbers have as many digits as there must be for the alphabet to sort them. Officially there are three, so that from
  the thousandth clip on first frames are compared in a wrong order.

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
"""A clip of custom mode."""
SHORTEST = 2
"""Frames of a clip at least: consistency compares neighbours."""
ENCODER_THREADS = 4
"""The same everywhere: what x264 writes depends on it."""
INSTRUCTIONS = "avx2"
"""The newest x86 instructions that x264 may use. With AVX-512 its macroblock tree writes other motion vectors for the
same pictures from time to time, with one thread too (x264 as in PyAV 18.1)."""
ENCODING = (
    f"libx264, yuv420p, default quality, {ENCODER_THREADS} threads, {INSTRUCTIONS} at most, PyAV {av.__version__}"
)
"""How clips are written, for the record."""
CPU = Path("/proc/cpuinfo")
"""Where the processor's instructions are listed, on Linux."""


@dataclass(frozen=True)
class Clip:
    """A clip of a video: its file, and the video's frames from `start` to before `end`."""

    path: Path
    film: str
    start: int
    end: int


def spans(frames: int, rate: float, seconds: float) -> list[tuple[int, int]]:
    """Where clips begin and end, in frames; fractions of the rate are dropped, as the official tool does.

    Raises StoreError for a video of fewer frames than a clip has at least.
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
    """A text that can name a video for VBench-Long: neither underscores nor slashes; what is lost is told apart."""
    plain = text.replace("_", "-").replace("/", "-")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def cut(film: Film, seconds: float, folder: Path, name: str) -> list[Clip]:
    """The clips of a video, in order; those that were cut before are not cut again. name: what their files begin with.

    Raises StoreError for a file that is damaged, is not the one in the list of films, or has an odd side.
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
    """Write the first frames of clips as one video, for the fast branch: read from the clips, and encoded once more."""
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
    """One pass over a video: at most two clips are open at a time, the last one and the one it borrows from."""
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
    """Options of x264 that make the same pictures the same bytes; see `INSTRUCTIONS`."""
    try:
        newer = "avx512" in CPU.read_text(encoding="utf-8")
    except OSError:
        newer = False
    # Only where AVX-512 is listed: x264 does not check that the processor has the instructions named here.
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
