"""Files of head classes for models that ship none."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.files import write_text
from harness.memory import Strategy
from harness.registry import strategy
from strategies.forcing_kv.classes import content

FOLDER = Path(tempfile.gettempdir()) / "horizon-head-classes"
"""One for all processes, since the name of a file is in the name of a test."""


def classes_file(static: Sequence[Sequence[int]], heads: int, backbone: str = "custom") -> str:
    """Write a file with these static heads of each layer, and return its path."""
    text = json.dumps(content(static, heads, backbone, "", "by hand"))
    path = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    FOLDER.mkdir(exist_ok=True)
    write_text(path, text)
    return str(path)


def prepared(name: str, layers: int, heads: int, backbone: str = "custom") -> Strategy:
    """Return a strategy with its defaults for a model of this size; it has every second head static, if it asks."""
    if name != "forcing_kv":
        return strategy(name)
    return strategy(name, classes=classes_file([list(range(0, heads, 2))] * layers, heads, backbone))
