"""Finished videos: properties of a file, its frames by number, and the choice of frames to measure.

Frames are numbered from 0 in display order. Only one picture is held at a time, however long the video.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from harness.errors import StoreError
from harness.files import ffmpeg

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Picture = NDArray[np.uint8]
"""RGB picture, [H, W, 3]."""
REFERENCES = 5
"""Most frames that represent the beginning of a video."""
SAMPLING = (
    f"the middle frame of each second; of the beginning one a second, 1 to {REFERENCES}, evenly; none with itself"
)
"""Description of `middles` and `beginning`, for the record."""


@dataclass(frozen=True)
class Footage:
    """Properties of a video file. rate: frames a second; height, width: pixels."""

    frames: int
    rate: float
    height: int
    width: int


def footage(path: Path) -> Footage:
    """Read the properties of a file; frames are counted, not decoded. Raises StoreError for a file without a video."""
    with _opened(path) as (container, stream):
        # Headers of fragmented files do not state the number of frames.
        frames = sum(packet.size > 0 for packet in container.demux(stream))
        if not stream.average_rate:
            raise StoreError(f"{path}: does not say how many frames a second it has")
        return Footage(frames, float(stream.average_rate), stream.height, stream.width)


def pictures(path: Path, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
    """Yield the wanted frames with their numbers, rising, each once. Raises StoreError for a damaged or short file."""
    left = iter(sorted(set(wanted)))
    target = next(left, None)
    if target is None:
        return
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        # One of all frames: making it takes longer than most conversions.
        converter = VideoReformatter()
        for number, frame in enumerate(container.decode(stream)):
            # A decoder fills in missing parts of a frame and only flags it; later frames are predicted from it.
            if frame.is_corrupt:
                raise StoreError(f"{path}: frame {number} is damaged; make the video again")
            if number != target:
                continue
            yield number, np.asarray(converter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
            target = next(left, None)
            if target is None:
                return
    raise StoreError(f"{path}: ends before frame {target}; make the video again")


def middles(start: int, end: int, rate: float) -> list[int]:
    """Return frames that represent those from `start` to before `end`: the middle one of each second of the video, at
    least one."""
    seconds = range(math.floor(start / rate), math.ceil(end / rate))
    found = {math.floor((second + 0.5) * rate) for second in seconds}
    return sorted(frame for frame in found if start <= frame < end) or [(start + end) // 2]


def beginning(reference: int, rate: float) -> list[int]:
    """Return frames that represent the first `reference` ones, evenly spaced: one a second, 1 to `REFERENCES`."""
    count = min(REFERENCES, max(1, math.floor(reference / rate)))
    return [math.floor((each + 0.5) * reference / count) for each in range(count)]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        with av.open(ffmpeg(path)) as container:
            if not container.streams.video:
                raise StoreError(f"{path}: holds no video")
            yield container, container.streams.video[0]
    except StoreError:
        raise
    except (av.FFmpegError, OSError) as error:
        words = getattr(error, "strerror", None) or error
        raise StoreError(f"{path}: cannot be read as a video ({words}); make it again") from None
