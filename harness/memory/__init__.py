"""The seam between a backbone and a memory: remember, recall, forget; and what memories are made of.

`Strategy`, the frozen record of knobs, opens one `Memory` for one rollout. Bases for memories of whole frames are in
`harness.memory.frames`, watchers of a memory in `harness.memory.proxy`.
"""

from harness.memory.entries import Entries, Layout, at_least_float32
from harness.memory.heads import GroupedContext, HeadGroup, Heads
from harness.memory.seam import Memory
from harness.memory.strategy import Strategy
from harness.memory.terms import DTYPES, At, Boundary, Context, MemorySpec, PromptSwitch, Weights

__all__ = [
    "DTYPES", "At", "Boundary", "Context", "Entries", "GroupedContext", "HeadGroup", "Heads", "Layout", "Memory",
    "MemorySpec", "PromptSwitch", "Strategy", "Weights", "at_least_float32",
]  # fmt: skip
