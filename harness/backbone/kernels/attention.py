"""Softmax attention over [B, tokens, heads, channels], and the choice of the kernel that computes it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from harness.errors import HorizonError

AttentionName = Literal["auto", "sdpa", "flash-attn", "flash-attn-3", "flash-attn-4"]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def sdpa(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return torch's scaled dot-product attention.

    query: [B, N, heads, channels]. keys, values: [B, M, heads, channels].
    """
    query, keys, values = (x.transpose(1, 2) for x in (query, keys, values))
    return F.scaled_dot_product_attention(query, keys, values).transpose(1, 2)


def flash(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the result of the flash-attn package's kernel, same shapes; half precisions on CUDA only."""
    from flash_attn import flash_attn_func

    return flash_attn_func(query, keys, values)


def flash_3(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the result of FlashAttention-3's kernel, same shapes; for GPUs of the Hopper generation."""
    from flash_attn_interface import flash_attn_func

    return _output(flash_attn_func(query, keys, values))


def flash_4(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the result of FlashAttention-4's kernel, same shapes; for GPUs of the Hopper and Blackwell generations."""
    from flash_attn.cute import flash_attn_func

    return _output(flash_attn_func(query, keys, values))


def _output(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the values; some versions return the logarithms of the sums, too."""
    return found if isinstance(found, Tensor) else found[0]


class Package(NamedTuple):
    """A package of attention kernels: its function, the module that has them, how it is installed, and the major
    compute capabilities that it runs on; empty if it runs on all."""

    attend: Attention
    module: str
    install: str
    majors: tuple[int, ...] = ()

    def runs_on(self, capability: tuple[int, int] | None) -> bool:
        """Return whether it has kernels for a GPU of a compute capability; None: no GPU."""
        return capability is not None and (not self.majors or capability[0] in self.majors)


PACKAGES: Mapping[AttentionName, Package] = {
    "flash-attn-3": Package(flash_3, "flash_attn_interface", "build hopper/ of Dao-AILab/flash-attention", (9,)),
    "flash-attn": Package(flash, "flash_attn", "pip install 'horizon-bench[gpu]'"),
    "flash-attn-4": Package(flash_4, "flash_attn.cute", "pip install flash-attn-4", (9, 10)),
}
"""All packages by name."""
AUTOMATIC: tuple[AttentionName, ...] = ("flash-attn-3", "flash-attn")
"""Packages of which "auto" selects the first that can run. The fourth version compiles itself at run time."""


def choose(name: AttentionName, dtype: torch.dtype, device: torch.device) -> tuple[Attention, str]:
    """Return the attention function and the name to record, such as "sdpa:flash_attention" or "flash-attn".

    "auto" selects a package of `AUTOMATIC` that is installed and can run, else SDPA. Raises HorizonError for an unknown
    name, and for a package that is not installed or cannot run.
    """
    if name not in get_args(AttentionName):
        raise HorizonError(f"unknown attention {name!r}; allowed: {', '.join(get_args(AttentionName))}")
    if name in PACKAGES:
        trouble = _trouble(PACKAGES[name], dtype, device)
        if trouble:
            raise HorizonError(f"attention {name!r} cannot run: {trouble}; use 'auto' or 'sdpa'")
        return PACKAGES[name].attend, name
    for each in AUTOMATIC if name == "auto" else ():
        if _trouble(PACKAGES[each], dtype, device) is None and _imports(PACKAGES[each].module):
            return PACKAGES[each].attend, each
    return sdpa, f"sdpa:{_sdpa_kernel(dtype, device)}"


def _trouble(package: Package, dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why a package cannot compute here; None where it can."""
    if not _installed(package.module):
        return f"it is not installed ({package.install})"
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return f"it needs a CUDA device and half precision, not {device.type} and {dtype}"
    # A package for all GPUs does not ask the device, which need not be there yet.
    if package.majors and not package.runs_on(found := torch.cuda.get_device_capability(device)):
        allowed = " or ".join(f"{major}.x" for major in package.majors)
        return f"it is for compute capability {allowed}, and {device} has {found[0]}.{found[1]}"
    return None


def _installed(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return False
    # A folder that others share has no file of its own: flash_attn, where only flash_attn.cute is installed.
    return spec is not None and spec.origin is not None


def _imports(module: str) -> bool:
    """Return whether a package can be imported; one that was built for another torch cannot."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


def _sdpa_kernel(dtype: torch.dtype, device: torch.device) -> str:
    """Return the name of the kernel that SDPA selects here for heads of 128 channels without a mask."""
    if device.type == "meta":
        return "meta"
    probe = torch.zeros(1, 1, 16, 128, dtype=dtype, device=device)
    return SDPBackend(torch._fused_sdp_choice(probe, probe, probe)).name.lower()
