"""Checkpoints in the formats that are in use, read strictly and without executing any content of a file."""

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
