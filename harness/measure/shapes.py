"""Results of operators on the device "meta", inferred once for each kind of call.

Torch infers many of them in Python, which takes up to a millisecond, and a plan repeats the same calls in every layer.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LIMIT = 20_000
"""Most kinds of calls that are remembered; a plan has a few hundred."""


class _Result(NamedTuple):
    """What makes a tensor on "meta"."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    def made(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


_known: dict[Hashable, tuple[_Result, ...]] = {}


class Inferred(TorchDispatchMode):
    """Runs operators as torch does; those on "meta" that were called alike before return new tensors at once."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return infer(func, args, kwargs or {})


def infer(func: Any, args: Any, kwargs: Any) -> Any:
    """Return the result of an operator for use in a dispatch mode.

    Parameters
    ----------
    func
        The operator's overload.
    args, kwargs
        Its arguments.
    """
    key = _key(func, args, kwargs)
    if key is None:
        return func(*args, **kwargs)
    if (known := _known.get(key)) is not None:
        made = tuple(each.made() for each in known)
        return made[0] if len(func._schema.returns) == 1 else made
    out = func(*args, **kwargs)
    found = _results(out if isinstance(out, tuple) else (out,), (args, kwargs))
    if found is not None:
        if len(_known) >= LIMIT:
            _known.clear()
        _known[key] = found
    return out


def _key(func: Any, args: Any, kwargs: Any) -> Hashable | None:
    """Return what decides the result of a call; None where that is more than shapes and types."""
    if not _makes_new_tensors(func):
        return None
    parts: list[Hashable] = []
    return (func, tuple(parts)) if _describe((args, kwargs), parts) and any(map(_is_tensor, parts)) else None


@cache
def _makes_new_tensors(func: Any) -> bool:
    """Return whether an operator returns new tensors only, by its schema."""
    returns = func._schema.returns
    kinds = {str(each.type) for each in returns}
    return kinds == {"Tensor"} and not func._schema.is_mutable and not any(each.alias_info for each in returns)


def _describe(value: Any, parts: list[Hashable]) -> bool:
    """Append what a result depends on; return whether that is all of it."""
    if isinstance(value, Tensor):
        layout = (value.layout, value.is_conj(), value.is_neg(), value.requires_grad)
        parts.append((Tensor, value.shape, value.stride(), value.dtype, *layout))
        return value.is_meta and type(value) in (Tensor, torch.nn.Parameter)
    if isinstance(value, tuple | list):
        parts.append(len(value))
        return all(_describe(each, parts) for each in value)
    if isinstance(value, dict):
        parts.append(tuple(value))
        return all(_describe(each, parts) for each in value.values())
    # 1, 1.0 and True are equal and have other results.
    parts.append((type(value), value))
    return isinstance(
        value, int | float | bool | str | torch.dtype | torch.device | torch.layout | torch.memory_format
    ) or (value is None)


def _is_tensor(part: Hashable) -> bool:
    return isinstance(part, tuple) and part[:1] == (Tensor,)


def _results(out: tuple[Any, ...], given: Any) -> tuple[_Result, ...] | None:
    """Return what makes these tensors again; None where that would be others, such as views that no schema names."""
    before = {each.untyped_storage()._cdata for each in tree_leaves(given) if isinstance(each, Tensor)}
    found = []
    for each in out:
        if not isinstance(each, Tensor) or not each.is_meta or each.untyped_storage()._cdata in before:
            return None
        result = _Result(each.shape, each.stride(), each.dtype)
        again = result.made()
        if (again.stride(), again.untyped_storage().nbytes()) != (each.stride(), each.untyped_storage().nbytes()):
            return None
        found.append(result)
    return tuple(found)
