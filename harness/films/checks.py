"""Checks of what files about films say. Only the standard library is imported here."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import read_json

FORMAT, FILMS = 1, "films.json"
LARGEST = 2**53
"""Whole numbers up to here are the same in every reader of JSON."""


def whole_number(value: Any, what: str) -> int:
    """Return a whole number that every reader of JSON reads alike. Raises ValueError, naming `what`, for others."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{what} is no whole number from 0 to {LARGEST}")
    return value


def rate(value: Any) -> float:
    """Return pictures a second. Raises ValueError for what is no number above 0."""
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError("rate is no number above 0")
    return float(value)


def text(value: Any, what: str) -> str:
    """Return a text. Raises TypeError, naming `what`, for others."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is no text")
    return value


def reason(error: Exception) -> str:
    """Return why a file is not what it should be, in words."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def is_component(name: str) -> bool:
    """Return whether a name from a file is one component of a path, which leads nowhere else."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=,+ -]*", name) is not None


def document(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file of this format. Raises StoreError, which ends with the remedy, for others."""
    found = read_json(path, remedy)
    if found.get("format") != FORMAT:
        raise StoreError(f"{path}: not of format {FORMAT}; {remedy}")
    return found
