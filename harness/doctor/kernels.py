"""Kernels: attention, half and quarter precision, and compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.backbone.kernels.attention import PACKAGES, Attention
from harness.backbone.kernels.fp8 import try_fp8
from harness.doctor.checks import Check
from harness.errors import why
from harness.rollout.graphs import pool, recorded

GROUP = "kernels"
FUSED = ("flash", "cudnn", "efficient")
"""Attention kernels of torch that do not write the scores to memory."""
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
Work = Callable[[torch.device], None]
"""Runs a kernel on a device; raises an exception where it does not work."""


def _attend(backend: SDPBackend, device: torch.device) -> None:
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    query = torch.zeros(1, 2, 32, 128, dtype=kind, device=device)
    with sdpa_kernel(backend):
        F.scaled_dot_product_attention(query, query, query).sum().item()


def _package(attend: Attention, device: torch.device) -> None:
    query = torch.zeros(1, 32, 2, 128, dtype=torch.bfloat16, device=device)
    attend(query, query, query).sum().item()


def _bfloat16(device: torch.device) -> None:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RuntimeError("emulated")
    one = torch.ones(32, 32, dtype=torch.bfloat16, device=device)
    (one @ one).sum().item()


def _compiled(device: torch.device) -> None:
    x = torch.ones(64, device=device)
    if torch.compile(lambda x: torch.sin(x) + 1, fullgraph=True, dynamic=False)(x).shape != x.shape:
        raise RuntimeError("the compiled function returned another shape")


def _graph(device: torch.device) -> None:
    x = torch.ones(64, device=device)
    replay, made = recorded(lambda: x + 1, device, pool())
    x.fill_(2)
    replay()
    if float(made.sum()) != 3 * x.numel():
        raise RuntimeError("a replay computed other numbers")


WORKS: Mapping[str, Work] = {
    **{name: partial(_attend, backend) for name, backend in BACKENDS.items()},
    **{name: partial(_package, package.attend) for name, package in PACKAGES.items()},
    "bfloat16": _bfloat16,
    "fp8": try_fp8,
    "compile": _compiled,
    "graphs": _graph,
}
"""What is tried, by name: the attention kernels of torch, then the others."""


def check_kernels(
    device: torch.device, works: Mapping[str, Work], packages: Mapping[str, str], capability: tuple[int, int] | None
) -> Iterator[Check]:
    """Yield the checks of the kernels of a device.

    Parameters
    ----------
    device
        The device.
    works
        What is tried, with the names of `WORKS`.
    packages
        Versions of the installed packages of attention kernels, by name.
    capability
        The compute capability of a GPU.
    """
    gpu = device.type == "cuda"
    # Not tried where they cannot be.
    left_out: set[str] = {name for name in PACKAGES if name not in packages or not PACKAGES[name].runs_on(capability)}
    left_out |= set() if gpu else {"graphs"}
    troubles = {name: _trouble(work, device) for name, work in works.items() if name not in left_out}
    answer = [name for name in BACKENDS if troubles[name] is None]
    fused = any(name in answer for name in FUSED)
    yield Check(
        GROUP,
        "attention",
        "ok" if fused else "limited" if answer else "broken",
        f"torch's {', '.join(answer)} answer{'s' * (len(answer) == 1)}" if answer else "no kernel of torch answers",
        "" if fused else "no fused kernel answers: long contexts are slow and take much memory; update torch",
        {"answer": answer},
    )
    for name, version in packages.items():
        trouble = troubles.get(name)
        tried = "which does not answer" if trouble else "which answers" if name in troubles else "not for this device"
        advice = f"reinstall {name} for this torch, or uninstall it ({trouble})" if trouble else ""
        found = f"{version}, {tried}"
        yield Check(GROUP, name, "limited" if trouble else "ok", found, advice, {"version": version})
    half = troubles["bfloat16"]
    advice = "set dtype = 'float32' in campaigns: bfloat16 is emulated or missing here" if half else ""
    yield Check(GROUP, "bfloat16", "limited" if half else "ok", half or "matrix products work", advice)
    quarter = troubles["fp8"]
    # No default needs it, so that its absence limits nothing.
    yield Check(GROUP, "fp8", "ok", "none here, and none is needed" if quarter else "scaled products work")
    trouble = troubles["compile"]
    needed = "triton and a C compiler" if gpu else "a C++ compiler (g++)"
    advice = f"install {needed}; without it leave out --compile"
    found = f"does not work: {trouble}" if trouble else "a graph compiles and runs"
    yield Check(GROUP, "compile", "limited" if trouble else "ok", found, advice if trouble else "")
    if gpu:
        trouble = troubles["graphs"]
        found = f"do not work: {trouble}" if trouble else "are recorded and replayed"
        advice = "update the driver and torch; without them leave out --compile graphs" if trouble else ""
        yield Check(GROUP, "graphs", "limited" if trouble else "ok", found, advice)


def _trouble(work: Work, device: torch.device) -> str | None:
    """Return why a kernel does not work, in a few words; None where it works."""
    try:
        work(device)
    except Exception as error:
        # Kernels, compilers and their loaders raise errors of any type.
        return why(error)[:120]
    return None
