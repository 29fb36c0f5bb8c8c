"""What is made once and kept: values of a model, as long as it is unchanged, and compiled functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
SHAPES = 64
"""Shapes for which one function may be compiled in a process."""


class Kept(Generic[T]):
    """Values by model and key; made anew once a parameter of the model was changed or replaced.

    Changes behind torch's back, through `parameter.data`, are not seen: this is for what is slow to make and wrong only
    for those who train, not for what names a result.
    """

    def __init__(self) -> None:
        self._by_model: WeakKeyDictionary[nn.Module, dict[Hashable, tuple[object, T]]] = WeakKeyDictionary()

    def get(self, model: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """The value, from `make` where there is none that holds."""
        # Tensors of an inference mode have no version, and cannot be changed outside of it.
        state = [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in model.parameters()]
        values = self._by_model.setdefault(model, {})
        if key not in values or values[key][0] != state:
            values[key] = state, make()
        return values[key][1]


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function as one static graph for each shape that it meets, made at its first call."""
    import torch._dynamo

    # One process may measure many sizes; past the default of 8 torch would refuse to compile the next one.
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    return torch.compile(function, fullgraph=True, dynamic=False)
