"""A campaign's folder, in which each finished cell appears atomically."""

from harness.store.merging import Merged, merge
from harness.store.store import CELL, FILES, MANIFEST, PICTURES, RECORD, RESUMABLE, Status, Store, Stored

__all__ = [
    "CELL",
    "FILES",
    "MANIFEST",
    "PICTURES",
    "RECORD",
    "RESUMABLE",
    "Merged",
    "Status",
    "Store",
    "Stored",
    "merge",
]
