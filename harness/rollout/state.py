"""What a stopped rollout leaves behind, and whether it belongs to the one that wants to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from harness.errors import ResumeError

State = dict[str, Any]
PARTS = ("fingerprint", "start", "index", "scene", "past", "memory")
"""What is copied into a state and out of it."""
ARCHIVE = "archive"
"""The part that is not: tensors on the CPU by name, which are never written to."""


def check_state(state: Mapping[str, Any], fingerprint: Mapping[str, Any], latent_frames: int, scenes: int) -> None:
    """Raise ResumeError unless a state is complete, of a rollout with this fingerprint, and within this video."""
    missing = [part for part in (*PARTS, ARCHIVE) if not isinstance(state, Mapping) or part not in state]
    if missing:
        raise ResumeError(f"this is not the state of a rollout, or not all of it: it lacks {', '.join(missing)}")
    for name, value in fingerprint.items():
        theirs = state["fingerprint"].get(name)
        if theirs != value:
            raise ResumeError(f"this state is of another rollout: {name} is {theirs!r} there and {value!r} here")
    if state["start"] > latent_frames:
        raise ResumeError(
            f"this state is {state['start']} latent frames into its video; {latent_frames} were asked for"
        )
    if state["scene"] >= scenes:
        raise ResumeError(f"this state is in scene {state['scene']}; {scenes} are given")


def copied(state: Any, copy: Callable[[Tensor], Tensor]) -> Any:
    """`state` with `copy` of every tensor; lists and dicts are new ones."""
    if isinstance(state, Tensor):
        return copy(state)
    if isinstance(state, dict):
        return {key: copied(value, copy) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [copied(value, copy) for value in state]
    return state
