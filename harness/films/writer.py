"""Streaming writer of video files: its memory is constant at any length, and a killed process leaves playable files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import torch
from torch import Tensor

from harness.errors import PresetError
from harness.files import ffmpeg, naming, write_whole
from harness.locks import lock

SMALLEST = 384
"""Pixels below which a picture's shorter side is enlarged, by an integer factor and without smoothing, since players
would blur it."""
KEY_SECONDS = 2
"""Seconds between key frames."""
_PIECE = re.compile(r"(?P<stem>.+)\.(?P<number>\d{4,})\.part", re.DOTALL)


class VideoWriter:
    """A writer of a video while it is generated: H.264 in mp4 for viewing, or lossless FFV1 in mkv. A context manager.

    Until it is closed, the video consists of pieces, `NAME.0000.part.mp4` and so on. Whenever the process dies, the
    pieces can be played up to the last written picture but one. `cut` ends a piece, so that a rollout that continues
    after a crash can continue the video too.

    Parameters
    ----------
    path
        The file.
    frames_per_second
        Pictures per second.
    lossless
        Write FFV1 in mkv.
    enlarge
        Enlarge small pictures, for viewing.
    about
        Metadata: `title` becomes the title of the file, and all of it is written as JSON into the comment.
    pieces
        Number of pieces to keep from an earlier process; later pieces are removed and written again.
    """

    def __init__(
        self,
        path: Path,
        frames_per_second: float,
        *,
        lossless: bool = False,
        enlarge: bool = False,
        about: Mapping[str, Any] | None = None,
        pieces: int = 0,
    ) -> None:
        self.path, self.rate = path, Fraction(frames_per_second).limit_denominator(1000)
        self.lossless, self.enlarge, self.about = lossless, enlarge, dict(about or {})
        self.frames = 0
        self.pieces = pieces
        for number, left in _pieces_of(path).items():
            if number >= pieces:
                left.unlink()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        # Make a video of the pictures so far if possible; a second error must not hide the first one.
        with suppress(Exception):
            self.close()

    def write(self, pictures: Tensor) -> None:
        """Append pictures [T, 3, H, W] with values from 0 to 1."""
        height, width = pictures.shape[-2:]
        scale = max(1, -(-SMALLEST // min(height, width))) if self.enlarge else 1
        enlarged = pictures.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        whole = (enlarged * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        with naming(self.path, self._piece(self.pieces)):
            if self._stream is None:
                self._open(scale * height, scale * width)
            for picture in whole:
                frame = av.VideoFrame.from_ndarray(picture[: self._stream.height, : self._stream.width], format="rgb24")
                self._container.mux(self._stream.encode(frame))
                self.frames += 1

    def cut(self) -> int:
        """End the current piece; return the number of pieces."""
        if self._stream is not None:
            with naming(self.path, self._piece(self.pieces)):
                self._container.mux(self._stream.encode())
                self._container.close()
            self._container = self._stream = None
            self.pieces += 1
        return self.pieces

    def join(self) -> None:
        """Write the whole video from all pieces, without encoding them again; the pieces stay."""
        if self.cut():
            write_whole(self.path, self._join)

    def close(self) -> None:
        """Write the whole video and remove the pieces; without pictures, no file is written."""
        self.join()
        for number in range(self.pieces):
            self._piece(number).unlink()
        self.pieces = 0

    def _piece(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number:04d}.part{self.path.suffix}")

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Every frame is its own fragment and is written to disk as soon as it is encoded; the encoder delays none.
        options = {"flush_packets": "1"}
        if self.lossless:
            options["cluster_time_limit"] = "1"
        else:
            options["movflags"] = "frag_every_frame+empty_moov+default_base_moof"
        self._container = av.open(ffmpeg(self._piece(self.pieces)), "w", options=options)
        self._container.metadata.update(self._metadata())
        if self.lossless:
            stream = self._container.add_stream("ffv1", rate=self.rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        else:
            stream = self._container.add_stream("libx264", rate=self.rate)
            stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
            key = max(1, round(KEY_SECONDS * self.rate))
            stream.options = {"crf": "16", "tune": "zerolatency", "g": str(key)}
        self._stream = stream

    def _metadata(self) -> dict[str, str]:
        title = {"title": str(self.about["title"])} if "title" in self.about else {}
        return {**title, **({"comment": json.dumps(self.about, ensure_ascii=False)} if self.about else {})}

    def _join(self, path: Path) -> None:
        options = {} if self.lossless else {"movflags": "faststart"}
        with av.open(ffmpeg(path), "w", options=options) as whole:
            whole.metadata.update(self._metadata())
            stream: Any = None
            shown = Fraction(0)
            for number in range(self.pieces):
                with av.open(ffmpeg(self._piece(number))) as piece:
                    source = piece.streams.video[0]
                    if stream is None:
                        stream = whole.add_stream_from_template(source)
                    frames = 0
                    for packet in piece.demux(source):
                        if packet.dts is None or packet.pts is None:
                            continue
                        frames += 1
                        offset = round(shown / packet.time_base)
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = stream
                        whole.mux(packet)
                    shown += frames / self.rate


def _pieces_of(path: Path) -> dict[int, Path]:
    """Return the pieces of this video by number, without those of videos whose names merely have the same beginning."""
    there = path.parent.iterdir() if path.parent.is_dir() else ()
    alike = {each: _PIECE.fullmatch(each.stem) for each in there if each.suffix == path.suffix}
    return {int(found["number"]): each for each, found in alike.items() if found and found["stem"] == path.stem}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the lock on a video's path while the block runs.

    Raises PresetError where another process is writing the video, and for a name that is reserved for pieces of another
    video, whose writer would remove it.
    """
    if _PIECE.fullmatch(path.stem):
        raise PresetError(
            f"{path}: names that end in .NUMBER.part are reserved for pieces of videos that are being written; give "
            "--out another name"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.lock")
    with lock(beside, wait=False) as mine:
        if not mine:
            raise PresetError(f"{path}: another process is writing this video; give --out another name")
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)


def read_about(path: Path) -> dict[str, Any]:
    """Return the metadata of a video that Horizon wrote; an empty dictionary for other videos."""
    with av.open(ffmpeg(path)) as file:
        text = file.metadata.get("comment") or file.metadata.get("COMMENT") or "{}"
    found = json.loads(text) if text.startswith("{") else {}
    return found if isinstance(found, dict) else {}
