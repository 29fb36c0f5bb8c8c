"""What is worked out once for a model and kept as long as the model is, and as it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

T = TypeVar("T")


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
