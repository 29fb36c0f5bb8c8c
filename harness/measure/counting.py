"""Operations, bytes and live memory of code that runs, also on paper (device "meta")."""

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


@dataclass(frozen=True)
class Work:
    """One matrix product, convolution or attention call: its operations (2 a multiply-add), and the bytes that it must
    read and write at least once."""

    name: str
    flops: int
    bytes: int


@dataclass
class Count:
    """What was counted. peak_bytes: the most by which what is alive exceeded what was alive at the beginning."""

    work: list[Work] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def flops(self) -> int:
        return sum(each.flops for each in self.work)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.work)


@contextmanager
def counted() -> Iterator[Count]:
    """Count what runs inside. Products are those that torch's own FLOP counter knows, by its formulas; an attention
    call is one piece of work, whose scores never leave the chip (Dao et al., arXiv:2205.14135)."""
    count = Count()
    with _Attention(count), _Products(count):
        yield count


@contextmanager
def weighed() -> Iterator[Count]:
    """Count what is alive inside, and no work: for rollouts of any length."""
    count = Count()
    with _Tensors(count):
        yield count


@contextmanager
def sketched() -> Iterator[None]:
    """Let the costly functions on "meta" give shapes only, and nothing of what torch would make of them there."""
    with _Sketched():
        yield


class _Sketched(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.layer_norm, F.rms_norm, F.gelu) and args[0].device.type == "meta":
            return torch.empty_like(args[0])
        if func is F.linear and args[0].device.type == "meta":
            return args[0].new_empty(*args[0].shape[:-1], len(args[1]))
        if func is F.scaled_dot_product_attention and args[0].device.type == "meta":
            return args[0].new_empty(*args[0].shape[:-1], args[2].shape[-1])
        return func(*args, **(kwargs or {}))


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
        self.live = 0
        self.known: set[int] = set()
        # What nobody can reach would make room at some moment of the count, and bring the peak below zero.
        gc.collect()
        # Views of what is there already are nothing new, and that it goes makes room.
        for tensor in gc.get_objects():
            # Not isinstance: that asks strange objects for their class, and some answer with a warning.
            if issubclass(type(tensor), Tensor):
                self._watch(tensor)
        self.live = self.count.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._watch(tensor)
        return out

    def _watch(self, tensor: Tensor) -> None:
        # Sparse tensors, which anybody in this process may have, lie in others.
        if not torch._C._has_storage(tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if size and key not in self.known:
            self.known.add(key)
            self.live += size
            self.count.peak_bytes = max(self.count.peak_bytes, self.live)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


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
