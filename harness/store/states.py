"""States of cells under way, from which they go on after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.files import behind


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state. Raises OSError, for want of room for instance."""
    try:
        # Given a path, torch writes without asking how that went, and a full disk is "unexpected pos 704 vs 598".
        with path.open("wb") as stream:
            torch.save(dict(state), stream)
    except RuntimeError as error:
        # Given a stream, it closes its archive all the same, and that is where it complains: of Ctrl-C, too.
        if behind(error, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        refused = behind(error, OSError)
        if refused is None or refused.errno is None:
            raise
        raise OSError(refused.errno, refused.strerror) from None


def read_state(path: Path) -> dict[str, Any] | None:
    """Return a state, or None where there is none that can be read."""
    if not path.is_file():
        return None
    try:
        # Not onto the device that it came from: it may be another machine's, and a rollout copies what it needs.
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:
        return None
    return found if isinstance(found, dict) else None
