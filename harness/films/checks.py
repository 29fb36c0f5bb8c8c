"""Checks of the contents of files about films. Only the standard library is imported here."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import read_json

FORMAT, FILMS = 1, "films.json"
LARGEST = 2**53
"""Largest integer that every reader of JSON represents exactly."""


def whole_number(value: Any, what: str) -> int:
    """Return an integer from 0 to `LARGEST`. Raises ValueError, which names `what`, for other values."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{what} is not a whole number from 0 to {LARGEST}")
    return value


def rate(value: Any) -> float:
    """Return a rate in pictures per second. Raises ValueError for a value that is not a number above 0."""
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError("rate is not a number above 0")
    return float(value)


def text(value: Any, what: str) -> str:
    """Return a text. Raises TypeError, which names `what`, for other values."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is not a text")
    return value


def reason(error: Exception) -> str:
    """Return an error of a check as text for a message."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def is_component(name: str) -> bool:
    """Return whether a name from a file is one component of a path, which cannot leave its folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=,+ -]*", name) is not None


def document(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file of this format. Raises StoreError, which ends with `remedy`, for other files."""
    found = read_json(path, remedy)
    if found.get("format") != FORMAT:
        raise StoreError(f"{path}: not of format {FORMAT}; {remedy}")
    return found
