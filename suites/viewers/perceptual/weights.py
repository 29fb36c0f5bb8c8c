"""What networks there are on this machine: which packages, which files, and how to get what is missing.

Nothing is ever fetched by a run: whoever measures decides what is downloaded, and the numbers name its hash.
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
    """What to do about packages, module=distribution, that are not installed; None where all are."""
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    return f"needs {' and '.join(missing)}; run nox -s perceptual, or: pip install {' '.join(missing)}"


def versions(*names: str) -> dict[str, str]:
    """The versions of installed distributions."""
    return {name: importlib.metadata.version(name) for name in names}


def checkpoint(name: str) -> Path:
    """Where torchvision keeps a file of weights: in the folder that TORCH_HOME names."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def fetch(path: Path) -> str:
    """The command that brings a file of torchvision's weights to its place."""
    return f"curl --fail --location --create-dirs --output {shlex.quote(str(path))} {SERVER}/{path.name}"


def sha256(path: Path) -> str:
    """SHA-256 of a file; read once a process as long as its size and time stay."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


def allow_torchvision() -> None:
    """Make `import torchvision`, and what imports it, work beside a torch without CUDA.

    Its wheel on PyPI is compiled for CUDA. Without CUDA's libraries its operators do not load, and it then fails at
    describing two that are not there. They are declared here, without code: only detection calls them, which nobody
    does here. A wheel from the same index as a CPU torch has operators that load, and nothing is declared; many
    machines reach PyPI only.
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
    # A library that is collected takes its operators with it.
    _operators.append(declared)


@functools.cache
def _sha256(path: Path, size: int, modified: int) -> str:
    return digest(path)
