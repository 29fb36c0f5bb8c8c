"""Checkpoints as people have them: read strictly, and without executing what a file contains."""

from harness.backbone.checkpoints.load import (
    BARE,
    CONTAINERS,
    SCALES,
    SHOWN,
    fill,
    fingerprint,
    load_checkpoint,
    read_checkpoint,
    read_content,
    read_metadata,
    read_tensors,
    save_weights,
)

__all__ = [
    "BARE",
    "CONTAINERS",
    "SCALES",
    "SHOWN",
    "fill",
    "fingerprint",
    "load_checkpoint",
    "read_checkpoint",
    "read_content",
    "read_metadata",
    "read_tensors",
    "save_weights",
]
