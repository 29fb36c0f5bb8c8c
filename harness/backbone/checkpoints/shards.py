"""Models in several safetensors files: an index says which file contains each parameter."""

from __future__ import annotations

from pathlib import Path

from harness.errors import CheckpointError, shown
from harness.files import load_json

INDEX = ".safetensors.index.json"
"""Suffix of the name of an index; its files lie beside it."""


def read_index(path: Path) -> dict[str, str]:
    """Return the file of each parameter, by name. Raises CheckpointError for an index that is not of this form."""
    try:
        told = load_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not an index of safetensors ({error}); fetch it again") from None
    files = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{path}: not an index of safetensors: it has no weight_map of names to files")
    for file in files.values():
        # The index is untrusted input: it may only name files in its own folder.
        if Path(file).name != file or not file.endswith(".safetensors") or "\0" in file:
            raise CheckpointError(f"{path}: names {shown(file)}; an index names .safetensors files beside it")
    return files
