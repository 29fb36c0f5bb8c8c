"""Files of head classes for models that ship none."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.memory import Strategy
from harness.registry import strategy
from strategies.forcing_kv.classes import content

FILES = tempfile.TemporaryDirectory()


def classes_file(static: Sequence[Sequence[int]], heads: int, backbone: str = "custom") -> str:
    """Write a file with these static heads of each layer, and return its path."""
    text = json.dumps(content(static, heads, backbone, "", "by hand"))
    path = Path(FILES.name) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


def prepared(name: str, layers: int, heads: int, backbone: str = "custom") -> Strategy:
    """Return a strategy with its defaults for a model of this size; it has every second head static, if it asks."""
    if name != "forcing_kv":
        return strategy(name)
    return strategy(name, classes=classes_file([list(range(0, heads, 2))] * layers, heads, backbone))
