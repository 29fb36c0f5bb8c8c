"""The environment of a cell: code, versions, machine. The ids of cells do not depend on it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import psutil
import torch

from harness import registry
from harness.backbone.presets import Backbone
from harness.provenance.code import is_checkout, source_file

KERNELS = ("flash-attn", "flash-attn-3", "flash-attn-4")
"""Packages of attention kernels."""
PACKAGES = ("horizon-bench", "torch", "numpy", *KERNELS, "diffusers", "transformers", "av")
PLACES = ("weights", "offload")
"""Options of a backbone that name locations and do not affect the numbers."""
TOLD = ("container", "chunk", "decoder")
"""Options of a backbone that select the model in its files, how it is sampled and what decodes it; they are part of the
environment."""


def environment(backbone: Backbone) -> dict[str, Any]:
    """Return the facts that can explain a difference between two machines."""
    return {
        **machine_facts(),
        "gpu": _gpu(backbone.model.device),
        "device": str(backbone.model.device),
        "attention": backbone.attention_kernel,
        "dtype": backbone.dtype,
        "compile": backbone.compile,
        **({"files": dict(backbone.files)} if backbone.files else {}),
        **{key: backbone.options[key] for key in TOLD if key in backbone.options},
    }


def machine_facts() -> dict[str, Any]:
    """Return the facts of a machine and its software that do not depend on a backbone."""
    return {
        "machine": platform.node(),
        "code": git_state(Path(__file__).parents[2]),
        "plugins": _plugins(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed_version(name))},
        "system": platform.platform(),
        "cpu": cpu(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _gpu(device: torch.device) -> str | None:
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(device if device.type == "cuda" else None)


def weights_hash(backbone: Backbone) -> str:
    """Return the SHA-256 of all parameters and buffers by name, and of other files and options that affect numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    what = {key: value for key, value in backbone.options.items() if key not in PLACES}
    if backbone.files or what:
        digest.update(json.dumps([sorted(backbone.files.values()), what], sort_keys=True).encode())
    return digest.hexdigest()


def git_state(folder: Path) -> dict[str, Any]:
    """Return the commit of the checkout around a folder, and whether files differ from it; {} outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", folder, *words],
                check=True,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=10,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return {}
    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}


def _plugins() -> dict[str, dict[str, Any]]:
    """Return the version, and the commit if there is one, of each other package that registers entry points."""
    found: dict[str, dict[str, Any]] = {}
    for group in get_args(registry.Group):
        for point in registry.found(group).values():
            if point.dist is None or point.dist.name == "horizon-bench" or point.dist.name in found:
                continue
            file = source_file(point.module)
            state = git_state(file.parent) if file is not None and is_checkout(file) else {}
            found[point.dist.name] = {"version": point.dist.version, **state}
    return dict(sorted(found.items()))


def cohort_of(about: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions that must be equal before the speeds of two cells may be compared.

    Parameters
    ----------
    about
        The contents of `cell.json`; a measured cell names its own machine in it (`machine`).
    manifest
        The manifest of its campaign.
    """
    environment = manifest["environments"].get(about["environment"], {})
    packages, code = environment.get("packages") or {}, environment.get("code") or {}
    measured = about.get("machine") or {}
    on_gpu = str(environment.get("device", "")).startswith("cuda")
    found = {
        "hardware": environment.get("gpu") if on_gpu else environment.get("cpu"),
        **{key: environment.get(key) for key in ("device", "cores", "threads", "attention", "dtype", "decoder")},
        **{key: value for key, value in measured.items() if key in SET_UP},
        # Records of versions that never compiled say False.
        "compile": measured.get("compile", environment.get("compile")) or "off",
        **{name: packages.get(name) for name in ("torch", *KERNELS)},
        "commit": code.get("commit"),
        # The code may differ from the commit.
        "code": _code_of(about),
    }
    if about.get("began_in"):
        found["began in another environment"] = list(about["began_in"])
    return found


def _code_of(about: Mapping[str, Any]) -> str | None:
    """Return a digest of the code whose time a cell contains.

    For a measured cell that is all of its code but the strategy. Other cells only record the time of each chunk,
    whatever the suite and its reference strategies are. Cells without a digest of that code are of an older version,
    which recorded the other one only.
    """
    code = about.get("code") or {}
    shared: str | None = code.get("shared")
    return shared if "machine" in about else code.get("rollout", shared)


SET_UP = ("hardware", "threads", "attention", "dtype", "compile")
"""Facts that a measuring process records about itself."""


def installed_version(package: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine
