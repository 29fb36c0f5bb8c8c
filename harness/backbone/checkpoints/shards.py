"""Models in several safetensors files: the index says which parameter is in which file."""

from __future__ import annotations

from pathlib import Path

from harness.errors import CheckpointError, shown
from harness.files import load_json

INDEX = ".safetensors.index.json"
"""How the name of an index ends; its files lie beside it."""


def read_index(path: Path) -> dict[str, str]:
    """In which file each parameter is, by name. Raises CheckpointError for an index that says something else."""
    try:
        told = load_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not an index of safetensors ({error}); fetch it again") from None
    files = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{path}: not an index of safetensors: it has no weight_map of names to files")
    for file in files.values():
        # Whoever wrote the index decides what is read: nothing outside of its folder.
        if Path(file).name != file or not file.endswith(".safetensors") or "\0" in file:
            raise CheckpointError(f"{path}: names {shown(file)}; an index names .safetensors files beside it")
    return files
