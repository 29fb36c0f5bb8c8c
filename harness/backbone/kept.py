"""Caches: values computed from a model, valid as long as the model is unchanged, and compiled functions."""

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
"""Number of shapes for which one function may be compiled in a process."""


class Kept(Generic[T]):
    """Values by model and key; computed again once a parameter of the model was changed or replaced.

    Changes through `parameter.data` are not seen, because torch does not count them. Use this for values that are slow
    to compute and become wrong only in training, not for values that identify a result.
    """

    def __init__(self) -> None:
        self._by_model: WeakKeyDictionary[nn.Module, dict[Hashable, tuple[object, T]]] = WeakKeyDictionary()

    def get(self, model: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value; `make` computes it where no valid one is stored."""
        # Tensors of inference mode have no version; they cannot be changed outside of it.
        state = [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in model.parameters()]
        values = self._by_model.setdefault(model, {})
        if key not in values or values[key][0] != state:
            values[key] = state, make()
        return values[key][1]


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function as one static graph for each input shape, compiled at the first call."""
    import torch._dynamo

    # One process may measure many sizes; past the default of 8 torch would refuse to compile the next one.
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    return torch.compile(function, fullgraph=True, dynamic=False)
