"""Atomic writing of files, and reading them back. Only the standard library is imported here."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from harness.errors import HorizonError, StoreError, shown

E = TypeVar("E", bound=BaseException)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file atomically: `write` makes a temporary file in the same folder, which is then renamed.

    The folder is made if it is missing. The temporary file has the same suffix. A link at `path` is replaced and not
    followed; `own` checks the folders on the way to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    # Without this, a link with this name would be followed.
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
    """Write a file atomically through an open file object.

    This is for libraries that accept file names in UTF-8 only; names of files may be other bytes.
    """

    def put(beside: Path) -> None:
        with beside.open("wb") as file:
            write(file)

    write_whole(path, put)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 atomically."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_new(path: Path, text: str) -> bool:
    """Write a text in UTF-8 into a new file, atomically; return False, and write nothing, where a file is there."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        beside.write_text(text, encoding="utf-8")
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError:
            # Some file systems have no links: the file may then be seen before it is complete.
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
            except FileExistsError:
                return False
        return True
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, beside: Path | None = None) -> Iterator[None]:
    """Set the file name of an OSError that is raised in the block to `path`, if it has none.

    Parameters
    ----------
    path
        The file that the caller asked for.
    beside
        A temporary file that is written for `path`; an error that names it gets `path` instead.
    """
    try:
        yield
    except OSError as error:
        # An error of writing to an open file, on a full disk for instance, does not contain its name.
        unnamed = error.errno is not None and error.filename is None
        if unnamed or (beside is not None and _is_path(error.filename, beside)):
            _rename(error, path)
        raise


def _rename(error: OSError, path: Path) -> None:
    try:
        error.filename = str(path)
    except AttributeError:
        # PyAV's errors have the file name in their arguments only.
        error.args = (*error.args[:2], str(path), *error.args[3:])


def _is_path(said: object, path: Path) -> bool:
    """Return whether a file name from an error is this path, which a library may have made absolute."""
    return isinstance(said, str | os.PathLike) and os.path.abspath(said) == os.path.abspath(path)


def copy(source: Path, target: Path) -> None:
    """Copy the contents of a file. Errors of writing contain no file name, so that `naming` can set it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 2**20)


def behind(error: BaseException, kind: type[E]) -> E | None:
    """Return the first error of a kind in the chain of causes and contexts of an error; None where there is none.

    A library may continue after an OSError or a Ctrl-C, and fail later with an error of another type.
    """
    below = error.__cause__ or error.__context__
    return below if below is None or isinstance(below, kind) else behind(below, kind)


def own(folder: Path, *parts: str) -> Path:
    """Return a path within a folder. Raises StoreError where one of its parts is a link.

    A file written through such a link would be outside the folder. The folder itself may be a link, because the user
    gave it.
    """
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise StoreError(
                f"{place}: this is a link to {shown(os.readlink(place))}, and links are not followed; move it away"
            )
    return place


def no_links(folder: Path) -> None:
    """Raise StoreError for a link or a pipe anywhere in a folder, which may be missing."""
    for place, folders, files in os.walk(own(folder.parent, folder.name)):
        for name in sorted((*folders, *files)):
            path = Path(place, name)
            # Other processes may remove their files meanwhile.
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise StoreError(f"{path}: not a regular file; move it away")


def read_bytes(path: Path | str, *, links: bool = True) -> bytes:
    """Return the contents of a regular file.

    Parameters
    ----------
    path
        The file.
    links
        Whether the file may be a link.

    Raises OSError, with the path, for anything else: reading a pipe would block, and a device may have no end.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a NUL is in its path", str(path))
    # Opening a pipe waits for nobody then.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags if links else flags | os.O_NOFOLLOW)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        # Read to its end: a file may have grown since.
        parts = []
        while part := os.read(descriptor, about.st_size + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def load_json(path: Path) -> Any:
    """Return the value in a JSON file in UTF-8. Raises OSError if it cannot be read, ValueError if it is not JSON."""
    return parse_json(read_bytes(path))


def parse_json(text: str | bytes, *, once: bool = False) -> Any:
    """Return the value of a JSON text. Raises ValueError for text that is not JSON or is nested too deeply.

    Parameters
    ----------
    text
        The JSON text, as text or in UTF-8.
    once
        Also raise ValueError for an object with a repeated key, of which `json` would keep the last value; for files
        that people write.
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
    """Return the value in a TOML file in UTF-8. Raises OSError if it cannot be read, ValueError if it is not TOML."""
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_toml(path: Path, refused: type[HorizonError]) -> dict[str, Any]:
    """Return the contents of a user's TOML file. Raises `refused`, in one line, if it cannot be read or is not TOML."""
    try:
        return load_toml(path)
    except OSError as error:
        raise refused(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise refused(f"{path} is not TOML: {error}") from None


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises StoreError, whose message ends with `remedy`, if the file is missing, damaged or contains no object.
    """
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
    """Return a path, or a part of one, decoded as UTF-8 in every locale; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def ffmpeg(path: Path) -> str:
    """Return a path for FFmpeg: absolute, because FFmpeg reads the part of a path before a colon as a protocol."""
    return os.path.abspath(path)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
