"""Files that are there whole or not at all, and reading them back. Only the standard library is imported here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import StoreError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make the folder, let `write` make the file beside its place, under a name with the same suffix, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    write_whole(path, lambda beside: beside.write_text(text))


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object. Raises StoreError, which ends with the remedy, for a file that is missing, damaged or none."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); {remedy}") from None
    if not isinstance(found, dict):
        raise StoreError(f"{path}: not written by Horizon; {remedy}")
    return found
