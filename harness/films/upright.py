"""Frames of video files as a player shows them: upright, in 8 bits of RGB, over black where they are transparent."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from harness.errors import StoreError

Picture = NDArray[np.uint8]
"""RGB, [H, W, 3]."""


@dataclass(frozen=True)
class Turn:
    """How a stored picture is turned for showing: by quarters to the left, after it was mirrored left to right."""

    quarters: int
    mirrored: bool

    @property
    def swaps(self) -> bool:
        """Whether height and width change places."""
        return self.quarters % 2 == 1


UPRIGHT = Turn(0, False)


def turning(frame: Any) -> Turn:
    """Return how a frame is turned, from its display matrix. Raises StoreError for any other angle."""
    matrix = next((each for each in frame.side_data if each.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(matrix)[:36])
    rows = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    for quarters in range(4):
        for mirrored in (False, True):
            if rows == _MATRICES[quarters, mirrored]:
                return Turn(quarters, mirrored)
    raise StoreError("its pictures are turned by an angle that is no quarter; turn it: ffmpeg -i FILE NEW.mkv")


# x' = a x + c y and y' = b x + d y, both axes as pictures have them: right and down.
_MATRICES = {
    (0, False): (1, 0, 0, 1), (1, False): (0, -1, 1, 0), (2, False): (-1, 0, 0, -1), (3, False): (0, 1, -1, 0),
    (0, True): (-1, 0, 0, 1), (1, True): (0, 1, 1, 0), (2, True): (1, 0, 0, -1), (3, True): (0, -1, -1, 0),
}  # fmt: skip


def as_shown(frame: Any, converter: VideoReformatter) -> Picture:
    """Return a frame as a player shows it.

    The converter is one of all frames of a file, since making one takes longer than most conversions.
    """
    if has_alpha(frame.format):
        wide = converter.reformat(frame, format="rgba").to_ndarray().astype(np.uint16)
        flat = ((wide[..., :3] * wide[..., 3:] + 127) // 255).astype(np.uint8)
    else:
        flat = np.asarray(converter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
    turn = turning(frame)
    if turn.mirrored:
        flat = flat[:, ::-1]
    return np.ascontiguousarray(np.rot90(flat, turn.quarters)) if turn != UPRIGHT else flat


def has_alpha(form: Any) -> bool:
    """Return whether pictures of a format may show what is behind them."""
    return any(component.is_alpha for component in form.components) or form.name == "pal8"


def shows_through(frame: Any, converter: VideoReformatter) -> bool:
    """Return whether any pixel of a frame shows what is behind it. For the converter see `as_shown`."""
    return has_alpha(frame.format) and int(converter.reformat(frame, format="rgba").to_ndarray()[..., 3].min()) < 255
