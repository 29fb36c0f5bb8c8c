"""Numbers and texts of a page's data: short, finite, and without characters that control the display."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from harness.escaping import visible

DIGITS = 5
"""Significant digits of a number in a page's data."""


def short(value: Any, digits: int = DIGITS) -> float | int | None:
    """Return a number with few digits; None where it is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    found = float(f"{number:.{digits}g}")
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def script(data: Any) -> str:
    """Return data as JSON for the inside of a script element: no text in it can end the element."""
    text = json.dumps(_plain(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value, keep="\n")
    if isinstance(value, Mapping):
        return {visible(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
