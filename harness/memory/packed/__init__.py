"""Frames in fewer bits: how a layout is packed, and entries that stay packed until they are read."""

from harness.memory.packed.entries import PackedEntries, Run, check_packing, packed, restored
from harness.memory.packed.packing import Packing, Store

__all__ = ["PackedEntries", "Packing", "Run", "Store", "check_packing", "packed", "restored"]
