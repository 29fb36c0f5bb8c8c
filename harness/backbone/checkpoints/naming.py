"""Names of files that the readers of weights can take."""

from __future__ import annotations

from pathlib import Path

from harness.errors import CheckpointError


def check_name(path: Path) -> Path:
    """Return a path; raise CheckpointError where it is not UTF-8 as this locale reads it: safetensors, tokenizers and
    torch would take it for a file that is damaged."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise CheckpointError(
            f"{path}: its name is not UTF-8 as this locale reads it, and weights cannot be read from there; set "
            "LC_ALL=C.UTF-8, or rename it"
        ) from None
    return path
