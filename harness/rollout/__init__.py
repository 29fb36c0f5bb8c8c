"""Rollouts: one video from one backbone and one memory, chunk by chunk, with noise that only the request decides."""

from harness.rollout.loop import Chunk, rollout

__all__ = ["Chunk", "rollout"]
