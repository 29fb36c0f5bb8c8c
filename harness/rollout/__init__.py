"""Rollouts: one video from one backbone and one memory, chunk by chunk, with noise that only the request decides."""

from harness.rollout.chunk import Chunk
from harness.rollout.loop import rollout
from harness.rollout.script import Cue, EncodedCue, Script, encoded

__all__ = ["Chunk", "Cue", "EncodedCue", "Script", "encoded", "rollout"]
