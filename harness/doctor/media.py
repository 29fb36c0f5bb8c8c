"""Videos and pictures: the encoders, and the fonts of plots."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from harness.doctor.checks import Check
from harness.films.writer import VideoWriter

GROUP = "media"
PICTURES = 4
"""Pictures of the video that is written as a test."""


def write_video(lossless: bool) -> None:
    """Write a small video and read it back. Raises the errors of the library."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"test.{'mkv' if lossless else 'mp4'}"
        with VideoWriter(path, 4.0, lossless=lossless) as writer:
            writer.write(torch.zeros(PICTURES, 3, 16, 16))
        with av.open(str(path)) as file:
            read = sum(1 for _ in file.decode(video=0))
    if read != PICTURES:
        raise RuntimeError(f"{read} of {PICTURES} pictures were read back")


def find_font() -> str:
    """Return the name of the font of plots. Raises ValueError where none is found."""
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties(), fallback_to_default=False)
    return font_manager.get_font(path).family_name


def check_media(write: Callable[[bool], None], font: Callable[[], str]) -> Iterator[Check]:
    """Yield the checks of encoders and fonts.

    Parameters
    ----------
    write
        Writes a video, lossless or not, and reads it back; raises an exception where that fails.
    font
        Returns the name of the font of plots; raises an exception where there is none.
    """
    for name, lossless, used in (("h264", False, "videos to watch"), ("ffv1", True, "lossless videos")):
        try:
            write(lossless)
        except Exception as error:
            # PyAV has many types of errors, and a broken installation of it raises others.
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
            advice = f"{used} cannot be written: pip install --force-reinstall av (its wheels have the encoders)"
            yield Check(GROUP, name, "limited", found, advice)
        else:
            yield Check(GROUP, name, "ok", f"{used} are written and read back")
    try:
        yield Check(GROUP, "fonts", "ok", font())
    except Exception as error:
        advice = "plots have no text: pip install --force-reinstall matplotlib (its wheel has a font)"
        yield Check(GROUP, "fonts", "limited", f"{type(error).__name__}: {error}"[:100], advice)
