"""Compiled twins of the functions that a rollout calls at every pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

SHAPES = 64
P = ParamSpec("P")
R = TypeVar("R")


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as one static graph for each shape that it meets; made at the first call, kept for the process."""
    import torch._dynamo

    # One process may measure many sizes; past the default of 8 torch would refuse to compile the next one.
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    return torch.compile(function, fullgraph=True, dynamic=False)
