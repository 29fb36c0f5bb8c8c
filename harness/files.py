"""Files that are there whole or not at all, and reading them back. Only the standard library is imported here."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from harness.errors import HorizonError, StoreError, shown


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make the folder, let `write` make the file beside its place, under a name with the same suffix, and rename it.

    A link at its place is replaced, and not followed; `own` checks the folders on the way to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    # A link by this name would be written through.
    beside.unlink(missing_ok=True)
    try:
        with naming(path, beside):
            write(beside)
            os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_open(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` write into an open file, whole or not at all: for libraries that take names in UTF-8 only, which
    those of files need not be."""

    def put(beside: Path) -> None:
        with beside.open("wb") as file:
            write(file)

    write_whole(path, put)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


@contextmanager
def naming(path: Path, beside: Path | None = None) -> Iterator[None]:
    """Let an error of the system say which file it is about.

    beside: a file that is written for it, and that nobody asked for.
    """
    try:
        yield
    except OSError as error:
        # What writes to an open file, on a full disk for instance, does not say to which.
        unnamed = error.errno is not None and error.filename is None
        if unnamed or (beside is not None and _is_path(error.filename, beside)):
            _rename(error, path)
        raise


def _rename(error: OSError, path: Path) -> None:
    try:
        error.filename = str(path)
    except AttributeError:
        # PyAV's errors have it in their arguments alone.
        error.args = (*error.args[:2], str(path), *error.args[3:])


def _is_path(said: object, path: Path) -> bool:
    """Whether what an error says is this path, which a library may have made absolute."""
    return isinstance(said, str | os.PathLike) and os.path.abspath(said) == os.path.abspath(path)


def copy(source: Path, target: Path) -> None:
    """Copy the contents of a file. What goes wrong with the target names no file, so that `naming` may."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 2**20)


def behind(error: BaseException) -> OSError | None:
    """Return the error of the system that another one hides: what failed first in a library that went on after it."""
    below = error.__cause__ or error.__context__
    return below if below is None or isinstance(below, OSError) else behind(below)


def own(folder: Path, *parts: str) -> Path:
    """Return a place in a folder. Raises StoreError where a part of the way to it is a link.

    What is written there would lie elsewhere. The folder itself may be a link: who names it means where it leads.
    """
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise StoreError(
                f"{place}: a link to {shown(os.readlink(place))}, through which nothing is written; move it away"
            )
    return place


def no_links(folder: Path) -> None:
    """Raise StoreError for a link or a pipe anywhere in a folder, which may be missing."""
    for place, folders, files in os.walk(own(folder.parent, folder.name)):
        for name in sorted((*folders, *files)):
            path = Path(place, name)
            # Others may be at work there, and take away what they have written.
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise StoreError(f"{path}: not a regular file; move it away")


def read_bytes(path: Path) -> bytes:
    """Return the contents of a regular file.

    Raises OSError, with the path, for everything else: a pipe would be waited for, and a device has no end.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a NUL is in its path", str(path))
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def load_json(path: Path) -> Any:
    """Return what a JSON file in UTF-8 holds. Raises OSError for one that cannot be read, ValueError for other text."""
    return parse_json(read_bytes(path))


def parse_json(text: str | bytes, *, once: bool = False) -> Any:
    """Return what a JSON text says. Raises ValueError for everything that is none, deep nesting included.

    once: also for an object with a key twice, of which JSON would keep the last; for what people write.
    """
    try:
        return json.loads(text, object_pairs_hook=_once if once else None)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} is there twice; keep one of them")
        found[key] = value
    return found


def load_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file in UTF-8 holds. Raises OSError for one that cannot be read, ValueError for other text."""
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_toml(path: Path, refused: type[HorizonError]) -> dict[str, Any]:
    """A TOML file of the user's. Raises `refused`, in one line, for a file that cannot be read, or is none."""
    try:
        return load_toml(path)
    except OSError as error:
        raise refused(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise refused(f"{path} is not TOML: {error}") from None


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object. Raises StoreError, which ends with the remedy, for a file that is missing, damaged or none."""
    try:
        found = load_json(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
    except ValueError as error:
        raise StoreError(f"{path}: cannot be read ({error}); {remedy}") from None
    if not isinstance(found, dict):
        raise StoreError(f"{path}: not written by Horizon; {remedy}")
    return found


def in_utf8(path: Path | str) -> str:
    """Return a path, or a part of one, as UTF-8 has it whatever the locale's encoding is; what is none is replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def ffmpeg(path: Path) -> str:
    """Return a path as FFmpeg takes it: absolute, since it reads what stands before a colon as a protocol's name."""
    return os.path.abspath(path)


def digest(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
