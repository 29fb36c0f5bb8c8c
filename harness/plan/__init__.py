"""The plan of a strategy: expected bytes, operations and the least time of a chunk."""

from harness.plan.device import DEVICES, HERE, Device, at_hand, here
from harness.plan.planning import LINEAR_CHUNKS, STEADY_CHUNKS, Bound, Plan, plan

__all__ = ["DEVICES", "HERE", "LINEAR_CHUNKS", "STEADY_CHUNKS", "Bound", "Device", "Plan", "at_hand", "here", "plan"]
