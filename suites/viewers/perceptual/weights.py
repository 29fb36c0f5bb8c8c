"""Packages and weight files that viewers need, and the commands that install or fetch what is missing.

A run never fetches anything: the user decides what is downloaded, and the records name its hash.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import shlex
from pathlib import Path

import torch

from harness.files import digest

SERVER = "https://download.pytorch.org/models"
_operators: list[torch.library.Library] = []


def lacking(**packages: str) -> str | None:
    """Return what to do about packages, module=distribution, that are not installed; None where all are."""
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    return f"needs {' and '.join(missing)}; run nox -s perceptual, or: pip install {' '.join(missing)}"


def versions(*names: str) -> dict[str, str]:
    """Return the versions of installed distributions."""
    return {name: importlib.metadata.version(name) for name in names}


def checkpoint(name: str) -> Path:
    """Return torchvision's path of a weight file: in the folder that TORCH_HOME names."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def fetch(path: Path) -> str:
    """Return the command that downloads a file of torchvision's weights to its path."""
    return f"curl --fail --location --create-dirs --output {shlex.quote(str(path))} {SERVER}/{path.name}"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file; cached in the process as long as its size and time are unchanged."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


def allow_torchvision() -> None:
    """Make `import torchvision`, and packages that import it, work beside a torch without CUDA.

    torchvision's wheel on PyPI is compiled for CUDA. Without CUDA's libraries its operators do not load, and its import
    then fails on two operators that do not exist. They are declared here, without code; only detection calls them,
    which viewers do not use. A wheel from the same index as a CPU torch has operators that load, and nothing is
    declared; many machines can reach PyPI only.
    """
    found = importlib.util.find_spec("torchvision")
    if _operators or found is None or not found.submodule_search_locations:
        return
    for library in Path(found.submodule_search_locations[0]).glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
            return
        except OSError:
            continue
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # Operators exist only as long as their library object does.
    _operators.append(declared)


@functools.cache
def _sha256(path: Path, size: int, modified: int) -> str:
    return digest(path)
