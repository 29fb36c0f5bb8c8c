"""A campaign's folder, in which each finished cell appears atomically."""

from harness.store.cells import CELL, FILES, PICTURES, RECORD, Stored
from harness.store.merging import Merged, merge
from harness.store.store import MANIFEST, RESUMABLE, Status, Store

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
