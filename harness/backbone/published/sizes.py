"""Sizes of a published DiT: those of Wan2.1-T2V-1.3B, or those that a user's folder of weights gives."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.backbone.published.places import weights_folder
from harness.backbone.wan import WanConfig
from harness.errors import CheckpointError
from harness.files import load_json

CONFIG = "config.json"
"""In a user's folder of weights: the sizes of the DiT, named as Wan2.1 publishes them."""
LARGEST, MOST_LAYERS = 2**20, 1000
"""Largest size, and most layers, that a file may request."""


def config_of(weights: str | Path | None) -> WanConfig:
    """Return the sizes of Wan2.1-T2V-1.3B, unless the user's folder of weights gives other sizes."""
    path = own_sizes(weights)
    if path is None:
        return WanConfig()
    try:
        told = load_json(path)
        if not isinstance(told, dict):
            raise TypeError(f"a {type(told).__name__} instead of names and numbers")
        config = WanConfig.from_json(told)
        large = [field.name for field in fields(config) if _largest(getattr(config, field.name)) > LARGEST]
        if large or config.num_layers > MOST_LAYERS:
            raise ValueError(f"{(large or ['num_layers'])[0]} is larger than that of any model")
        return config
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the sizes of a Wan DiT ({error}); remove it to use the sizes of Wan2.1-T2V-1.3B"
        ) from None


def _largest(value: Any) -> float:
    return max(value, default=0) if isinstance(value, tuple) else value or 0


def own_sizes(weights: str | Path | None) -> Path | None:
    """Return the file with the user's own sizes, if there is one."""
    folder = weights_folder(weights)
    path = folder / CONFIG if folder else None
    return path if path is not None and path.is_file() else None
