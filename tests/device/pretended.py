"""A CUDA device without a GPU: its tensors have shapes, types and a device, and no contents; the host's are real.

Torch's `FakeTensorMode` computes the shapes and refuses operations on tensors of two devices. `Host` beside it plays
the host: it computes what is on the CPU, answers reads of the device, and refuses a wait for the device where there
must be none. A torch that is built without CUDA lacks one thing only, the guard that remembers the present device; a
guard that does nothing is compiled for it, which takes seconds.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from harness.rollout.passes import Passes

ROOT = Path(__file__).parents[2]
BYTES = 80 * 10**9
"""Bytes of the pretended device."""
GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace { C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>) }
"""
aten = torch.ops.aten
READS = (aten._local_scalar_dense.default, aten.equal.default)
"""Operations whose result is a number of the host."""
SIZES = (aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.unique_dim.default)
"""Operations whose result has a size that only the device knows."""
COPIES = (aten._to_copy.default, aten.copy_.default)
PINNED = (aten._pin_memory.default, aten.is_pinned.default)


class WaitError(AssertionError):
    """The host waits for the device where it must not."""


class Wait(NamedTuple):
    """A wait of the host for the device: the operation, the line of Horizon that asked for it, and whether that was in
    a pass of the model."""

    what: str
    where: str
    in_pass: bool


class Host(TorchDispatchMode):
    """The host beside a pretended device.

    waits: what made the host wait for the device, in order. allowed: lines that may do so in a pass, as beginnings of
    `Wait.where`; None allows all. in_pass: whether a pass of the model runs.
    """

    def __init__(self, allowed: Sequence[str] | None = ()) -> None:
        super().__init__()
        self.waits: list[Wait] = []
        self.allowed = allowed
        self.in_pass = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_device = any(isinstance(each, FakeTensor) for each in tensors)
        target = torch.device(kwargs.get("device") or "cpu")
        if func in PINNED:
            return args[0] if func is PINNED[0] else False
        kwargs.pop("pin_memory", None)
        if not on_device and target.type != "cuda":
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is aten._fused_sdp_choice.default:
            half = args[0].dtype in (torch.float16, torch.bfloat16)
            return (SDPBackend.FLASH_ATTENTION if half else SDPBackend.EFFICIENT_ATTENTION).value
        if func in READS or func in SIZES:
            return self._read(func, args, kwargs)
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            self._wait(f"{func} to the host", args[2:] == (True,) or kwargs.get("non_blocking"))
            return args[0]
        if func in COPIES and "cuda" in {each.device.type for each in tensors} | {target.type}:
            far = any(each.device.type == "cpu" and each.ndim >= 0 for each in tensors if each is not args[0])
            far = far or (func is COPIES[0] and args[0].device.type != "cuda")
            if far:
                self._wait(f"{func} to the device", args[2:] == (True,) or kwargs.get("non_blocking"))
        out = func(*args, **kwargs)
        return tree_map(self._brought, out)

    def _brought(self, out: Any) -> Any:
        """A result on the host is real: zeros of its shape."""
        if not (isinstance(out, FakeTensor) and out.device.type == "cpu"):
            return out
        self._wait("a copy to the host", False)
        with unset_fake_temporarily():
            return torch.zeros(out.shape, dtype=out.dtype)

    def _read(self, func: Any, args: Any, kwargs: Any) -> Any:
        self._wait(str(func), False)
        if func in SIZES:
            raise WaitError(f"{func}: the size of its result is known to the device only")
        if func is aten.equal.default:
            return True
        dtype = args[0].dtype
        # True is what checks for finite numbers hope for.
        return True if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0

    def _wait(self, what: str, freely: object) -> None:
        if freely:
            return
        wait = Wait(what, _line(), self.in_pass)
        self.waits.append(wait)
        if self.in_pass and self.allowed is not None and not wait.where.startswith(tuple(self.allowed)):
            raise WaitError(f"the host waits for the device in a pass: {wait.what}, {wait.where}")

    def during(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method of passes that says that it runs."""

        @functools.wraps(method)
        def watched(*args: Any, **kwargs: Any) -> Any:
            before, self.in_pass = self.in_pass, True
            try:
                return method(*args, **kwargs)
            finally:
                self.in_pass = before

        return watched


class Stream:
    """A stream of the pretended device, on which nothing takes time."""

    def __init__(self, device: object = None) -> None:
        self.device = device

    def wait_stream(self, stream: Stream) -> None:
        assert isinstance(stream, Stream)

    def wait_event(self, event: object) -> None:
        assert event is not None

    def record_event(self) -> object:
        return object()


STREAMS = {
    "torch.cuda.Stream": Stream,
    "torch.cuda.current_stream": Stream,
    "torch.cuda.stream": nullcontext,
    "torch.Tensor.record_stream": lambda tensor, stream: None,
}
"""What stands for streams, by its name."""


def _line() -> str:
    """Return the innermost line of this project that runs now, "strategies/memrope.py:12"; "?" where there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__) and ".nox" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


@contextmanager
def cuda(allowed: Sequence[str] | None = ()) -> Iterator[Host]:
    """Pretend a CUDA device while the block runs; tensors and models of the block are of no use outside of it.

    Raises WaitError for a wait in a pass, unless its line is allowed.
    """
    guard()
    host = Host(allowed)
    with ExitStack() as stack:
        for name in ("denoise", "commit"):
            stack.enter_context(patch.object(Passes, name, host.during(getattr(Passes, name))))
        stack.enter_context(patch("torch.cuda.mem_get_info", lambda *_: (BYTES, BYTES)))
        stack.enter_context(patch.object(nn.Module, "_apply", _apply))
        for name, value in STREAMS.items():
            stack.enter_context(patch(name, value))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(host)


@functools.cache
def guard() -> None:
    """Give a torch without CUDA the guard of a device that does nothing. Raises OSError where there is no compiler."""
    if torch.version.cuda is not None:
        return
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise OSError("a torch without CUDA needs a C++ compiler to pretend a device")
    home = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "guard.cpp", Path(folder) / f"guard{sysconfig.get_config_var('EXT_SUFFIX')}"
        source.write_text(GUARD, encoding="utf-8")
        words = ["-std=c++20", "-shared", "-fPIC", "-O0", f"-I{home / 'include'}", f"-L{home / 'lib'}"]
        subprocess.run([compiler, *words, str(source), "-lc10", "-o", str(library)], check=True)
        ctypes.CDLL(str(library))


def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`Module._apply` with new parameters. Torch swaps the contents of fake ones, which fails for any that a random
    initialisation has touched, since the mode keeps a weak reference to it: a limit of the mode."""
    for child in module.children() if recurse else ():
        _apply(child, function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                module._parameters[name] = nn.Parameter(function(parameter), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module
