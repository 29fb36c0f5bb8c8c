"""States of cells under way whose memories archive: what is put away for good is written once, not with every state.

An archive only grows, so what came since the last state goes into a file of its own, a piece, in a folder beside the
state (ID.pt, ID.archive/). The state names its pieces and is written after them; a piece is never written again, and
one that the new state does not name is removed after that. Whenever a process is killed, the state on disk finds all of
its pieces as they were.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.files import write_whole
from harness.store.states import read_state, write_state

Pieces = list[tuple[str, int]]
"""The name of a file and the number of its tensors, in the order in which they came."""


def save(
    path: Path, state: Mapping[str, Any], archive: Mapping[str, Tensor], pieces: Sequence[tuple[str, int]]
) -> Pieces:
    """Write a state, and what its archive holds beyond the pieces that are there.

    Parameters
    ----------
    path
        Path of the state.
    state
        Everything but the archive.
    archive
        What the memory has put away, all of it, in the order in which it came.
    pieces
        Pieces of the replaced state, as its `save` returned or `saved` found them under "pieces"; none at first.

    Returns
    -------
    list
        The pieces that the state names now.

    Raises
    ------
    OSError
        For want of room, for instance; the old state still holds then.
    """
    known, pieces = set(pieces), _extended(_folder(path), archive, pieces)
    try:
        write_whole(path, partial(write_state, {**state, "pieces": pieces}))
    except BaseException:
        # The next state will have a larger one.
        for name, _ in set(pieces) - known:
            (_folder(path) / name).unlink(missing_ok=True)
        raise
    _sweep(_folder(path), {name for name, _ in pieces})
    return pieces


def saved(path: Path) -> dict[str, Any] | None:
    """Return a state, its archive under "archive"; None where it, or a piece of it, is missing or cannot be read."""
    state = read_state(path)
    if state is None:
        return None
    archive: dict[str, Tensor] = {}
    for name, count in state.get("pieces", ()):
        piece = read_state(_folder(path) / name)
        if piece is None or len(piece) != count:
            return None
        archive |= piece
    return state | {"archive": archive}


def remove(path: Path) -> None:
    """Remove a state and then its archive."""
    path.unlink(missing_ok=True)
    shutil.rmtree(_folder(path), ignore_errors=True)


def _folder(path: Path) -> Path:
    return path.with_suffix(".archive")


def _extended(folder: Path, archive: Mapping[str, Tensor], pieces: Sequence[tuple[str, int]]) -> Pieces:
    there = sum(count for _, count in pieces)
    new = dict(islice(archive.items(), there, None))
    if not new:
        return list(pieces)
    # A name that was never given before: the state on disk, of other code for instance, may name what is there.
    name = f"{there:09d}-{uuid.uuid4().hex}.pt"
    write_whole(folder / name, partial(write_state, new))
    return [*pieces, (name, len(new))]


def _sweep(folder: Path, named: set[str]) -> None:
    """Remove what no state names, that of a process that was killed while it wrote included."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in named:
            path.unlink(missing_ok=True)
