"""Pictures to video files, as they come."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import torch
from torch import Tensor

SMALLEST = 384
"""Pixels below which a picture's shorter side is enlarged, by a whole factor and without smoothing: players blur."""


class VideoWriter:
    """An h264 file in an mp4 container, written in fragments: what is on disk can be played whenever the process dies.

    It is called `NAME.part.mp4` until it is closed; then it takes its name. Use as a context manager.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self.path, self.rate = path, Fraction(frames_per_second).limit_denominator(1000)
        self.part = path.with_name(f"{path.stem}.part{path.suffix}")
        self.frames = 0
        self._container = av.open(str(self.part), "w", options={"movflags": "frag_keyframe+empty_moov"})
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, pictures: Tensor) -> None:
        """Append pictures [T, 3, H, W] in 0..1."""
        height, width = pictures.shape[-2:]
        scale = max(1, -(-SMALLEST // min(height, width)))
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self.rate)
            self._stream.width, self._stream.height = scale * width // 2 * 2, scale * height // 2 * 2
            self._stream.pix_fmt = "yuv420p"
            # A fragment ends at a key frame: two seconds are the most that a kill can cost.
            self._stream.options = {"crf": "16", "g": str(max(1, round(2 * self.rate)))}
        enlarged = pictures.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        for picture in (enlarged * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy():
            frame = av.VideoFrame.from_ndarray(picture[: self._stream.height, : self._stream.width], format="rgb24")
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; a video without pictures is removed."""
        if self._stream is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._container.close()
        if self.frames:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)
