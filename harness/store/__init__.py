"""A campaign's folder, in which a cell is there whole or not at all."""

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
