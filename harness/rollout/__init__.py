"""Rollouts: one video from one backbone and one memory, chunk by chunk, with noise that only the request decides."""

from harness.rollout.chunk import Chunk
from harness.rollout.loop import rollout

__all__ = ["Chunk", "rollout"]
