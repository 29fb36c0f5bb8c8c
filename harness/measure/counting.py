"""Counters of operations, moved bytes and live memory of running code, also on the device "meta"."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from harness.measure.shapes import Inferred, infer


@dataclass(frozen=True)
class Work:
    """One matrix product, convolution or attention call.

    Parameters
    ----------
    name
        Its name.
    flops
        Its operations; a multiply-add counts as two.
    bytes
        Bytes that it must read and write at least once.
    """

    name: str
    flops: int
    bytes: int


@dataclass
class Count:
    """The result of a count.

    Parameters
    ----------
    work
        The counted calls, in order.
    live_bytes, peak_bytes
        The increase of the bytes of live tensors since the beginning of the count, now and the largest so far.
    """

    work: list[Work] = field(default_factory=list)
    live_bytes: int = 0
    peak_bytes: int = 0

    @property
    def flops(self) -> int:
        return sum(each.flops for each in self.work)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.work)


@contextmanager
def counted() -> Iterator[Count]:
    """Count operations and live memory of the code in the block.

    Products are counted by the formulas of torch's own FLOP counter. An attention call counts as one piece of work,
    whose scores are not written to memory (Dao et al., arXiv:2205.14135).
    """
    count = Count()
    with _Attention(count), _Products(count):
        yield count


@contextmanager
def weighed() -> Iterator[Count]:
    """Count live memory only, which suits rollouts of any length."""
    count = Count()
    with _Tensors(count):
        yield count


@contextmanager
def sketched() -> Iterator[None]:
    """Run code on "meta" without a count, faster than torch does."""
    with _Attention(Count()), Inferred():
        yield


class _Attention(TorchFunctionMode):
    def __init__(self, count: Count) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or args[0].device.type != "meta":
            return func(*args, **kwargs)
        query, keys, values = args[:3]
        out = query.new_empty(*query.shape[:-1], values.shape[-1])
        flops = sdpa_flop_count(query.shape, keys.shape, values.shape)
        self.count.work.append(Work("attention", flops, sum(x.nbytes for x in (query, keys, values, out))))
        return out


class _Tensors(TorchDispatchMode):
    def __init__(self, count: Count) -> None:
        super().__init__()
        self.count = count
        self.known: set[int] = set()
        # Unreachable tensors would be freed at some moment of the count and make the peak too small.
        gc.collect()
        # Existing tensors are watched too: their views are not new memory, and freeing them lowers the count.
        for tensor in gc.get_objects():
            # Not isinstance, which reads `__class__` of foreign objects; some of them then emit a warning.
            if issubclass(type(tensor), Tensor):
                self._watch(tensor)
        self.count.live_bytes = self.count.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = infer(func, args, kwargs or {})
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._watch(tensor)
        return out

    def _watch(self, tensor: Tensor) -> None:
        # Sparse tensors of other code in this process have no storage; their parts are dense tensors.
        if not torch._C._has_storage(tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if size and key not in self.known:
            self.known.add(key)
            self.count.live_bytes += size
            self.count.peak_bytes = max(self.count.peak_bytes, self.count.live_bytes)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.count.live_bytes -= size


class _Products(_Tensors):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = super().__torch_dispatch__(func, types, args, kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            moved = sum(x.numel() * x.element_size() for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor))
            flops = int(formula(*args, **kwargs, out_val=out))
            self.count.work.append(Work(func._overloadpacket.__name__, flops, moved))
        return out
