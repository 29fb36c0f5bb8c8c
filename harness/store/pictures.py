"""The reader of a cell's pictures: an archive of arrays, which must hold numbers and no code."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from harness.errors import StoreError

MOST = 2**32
"""Most bytes of an array."""
WIDEST = 8
"""Most bytes of a number; wider types differ between machines."""
STRIP, FRAMES = "strip", "frames"
"""Names of the pictures that reports show, [rollouts, pictures, 3, H, W], and of the latent frame of each, [pictures];
a cell may keep other arrays of any shape."""
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_pictures(path: Path) -> dict[str, np.ndarray]:
    """Return the pictures of a cell by name. Raises StoreError for a file that is damaged or contains code."""
    check_pictures(path)
    try:
        with np.load(path) as file:
            return dict(file)
    except Exception as error:
        # Reading a damaged archive can raise errors of any type, such as zlib.error and EOFError.
        raise _no_pictures(path, error) from None


def check_pictures(path: Path) -> None:
    """Raise StoreError for pictures that are damaged or contain code; only the headers of the arrays are read."""
    try:
        if not path.is_file():
            raise ValueError("not a regular file")
        shapes = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    version = np.lib.format.read_magic(member)
                    read = _HEADS[version]
                    shape, _, kind = read(member)
                if kind.kind not in "biuf" or kind.itemsize > WIDEST or math.prod(shape) * kind.itemsize > MOST:
                    raise ValueError(f"{name} does not hold numbers, or holds too many")
                shapes[name.removesuffix(".npy")] = shape
        strip = shapes.get(STRIP)
        if strip is not None and (len(strip) != 5 or strip[2] != 3 or 0 in strip):
            raise ValueError(f"{STRIP} has the shape {strip}, not (rollouts, pictures, 3, height, width)")
        if strip is not None and shapes.get(FRAMES) != strip[1:2]:
            raise ValueError(f"{FRAMES} does not have one latent frame per picture")
    except Exception as error:
        raise _no_pictures(path, error) from None


def _no_pictures(path: Path, error: Exception) -> StoreError:
    words = next(iter(str(error).splitlines()), "") or type(error).__name__
    return StoreError(
        f"{path}: not pictures written by Horizon ({words}); move {path} away; the numbers of the cell stay, and "
        "reports omit its pictures"
    )
