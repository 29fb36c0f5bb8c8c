"""A small film of a rollout in a known world, kept by default so that a report can show what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

from harness.files import ffmpeg, write_whole

MOST = 120
"""Most pictures of a small film; of a longer video, evenly spaced ones are kept."""
SHARP = 2
"""Factor by which pictures are enlarged: H.264 halves the resolution of colours, and every browser plays it."""
NAME = "{row}.small.mp4"
"""Name of the file among a cell's files, by the row of the task."""


class SmallFilm:
    """Keeps evenly spaced pictures of one row of a task, and writes them as a film of about ten kilobytes.

    Parameters
    ----------
    decoder
        A fresh decoder of one video, from latents [B, F, C, h, w] to pictures [B, T, 3, H, W] in 0..1.
    pictures
        Number of pictures of the whole video.
    frames_per_second
        Pictures per second of the video. The film takes as long as the video.
    row
        Row of the task that is filmed.
    """

    def __init__(self, decoder: Any, pictures: int, frames_per_second: float, row: int = 0) -> None:
        self.decoder, self.row = decoder, row
        self.every = max(1, -(-pictures // MOST))
        self.rate = Fraction(frames_per_second).limit_denominator(1000) / self.every
        self.seen = 0
        self.kept: list[Tensor] = []  # uint8 [T, H, W, 3]

    def see(self, latents: Tensor) -> None:
        """Take the next latents [B, F, C, h, w] of all rows."""
        pictures = self.decoder(latents[self.row : self.row + 1].float().cpu())[0]
        first = -self.seen % self.every
        some = (pictures[first :: self.every].clamp(0, 1) * 255).round().to(torch.uint8)
        if len(some):
            self.kept.append(some.permute(0, 2, 3, 1).contiguous())
        self.seen += len(pictures)

    def write(self, folder: Path) -> None:
        """Write the film into a folder; without pictures, no file is written."""
        if self.kept:
            write_whole(folder / NAME.format(row=self.row), self._encode)

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on after a crash."""
        return {"decoder": self.decoder.state_dict(), "seen": self.seen, "kept": list(self.kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.decoder.load_state_dict(state["decoder"])
        self.seen, self.kept = state["seen"], list(state["kept"])

    def _encode(self, path: Path) -> None:
        whole = torch.cat(self.kept).repeat_interleave(SHARP, 1).repeat_interleave(SHARP, 2).numpy()
        with av.open(ffmpeg(path), "w", options={"movflags": "faststart"}) as file:
            stream: Any = file.add_stream("libx264", rate=self.rate)
            stream.height, stream.width, stream.pix_fmt = *whole.shape[1:3], "yuv420p"
            # More threads would cost more than they save.
            stream.thread_count = 1
            stream.options = {"crf": "30", "preset": "slower", "g": str(MOST)}
            for picture in whole:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
