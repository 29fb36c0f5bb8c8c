"""On what a campaign ran: code, versions, machine. None of it enters the cells' names."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from harness.backbone.presets import Backbone

PACKAGES = ("horizon-bench", "torch", "numpy", "torchmetrics", "flash-attn", "diffusers", "transformers", "av")
PLACES = ("weights", "offload")
"""Options of a backbone that say where things are, not what is computed."""


def environment(backbone: Backbone) -> dict[str, Any]:
    """Everything that may explain a difference between two machines."""
    return {
        "code": _code(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "system": platform.platform(),
        "cpu": cpu(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpu(backbone.model.device),
        "device": str(backbone.model.device),
        "attention": backbone.attention_kernel,
        **({"files": dict(backbone.files)} if backbone.files else {}),
    }


def _gpu(device: torch.device) -> str | None:
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(device if device.type == "cuda" else None)


def weights_hash(backbone: Backbone) -> str:
    """SHA-256 of all parameters and buffers, by name; and of the other files and options that a number depends on."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    what = {key: value for key, value in backbone.options.items() if key not in PLACES}
    if backbone.files or what:
        digest.update(json.dumps([sorted(backbone.files.values()), what], sort_keys=True).encode())
    return digest.hexdigest()


def _code() -> dict[str, Any]:
    """Commit and whether files differ from it; empty outside of a checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return {}

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine
