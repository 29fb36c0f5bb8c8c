"""The request for a backbone, passed between commands, campaigns and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from harness.errors import PresetError

Compilation = Literal["off", "blocks", "graphs"]
"""How a pass of the model runs: as torch calls it, with compiled blocks, or as a CUDA graph of compiled blocks."""


def check_compilation(name: str, device: str) -> None:
    """Check how passes are to run on a device.

    Parameters
    ----------
    name
        Of the `Compilation`.
    device
        Name of the device.

    Raises
    ------
    PresetError
        The name is unknown, or CUDA graphs are asked for on another device than CUDA or meta.
    """
    if name not in get_args(Compilation):
        raise PresetError(f"unknown compile {name!r}; allowed: {', '.join(get_args(Compilation))}")
    if name == "graphs" and device.partition(":")[0] not in ("cuda", "meta"):
        raise PresetError(f"compile 'graphs' needs a CUDA device, not {device!r}; allowed here: off, blocks")


@dataclass(frozen=True, kw_only=True)
class BackboneRequest:
    """A request for a backbone; `harness.registry.open_backbone` opens it.

    Parameters
    ----------
    name
        Name of the backbone, registered under `horizon.backbones`.
    device
        "cpu", "cuda", "cuda:1", ..., or "meta" for shapes only.
    dtype
        Data type of the weights, for instance "bfloat16"; None for the backbone's usual one. "fp8": bfloat16, with the
        blocks' matrix products in float8 (`harness.backbone.kernels.fp8`).
    compile
        "off", "blocks" (compiled, for long rollouts on one size), or "graphs" (blocks in a CUDA graph). Numbers are
        equal within rounding.
    options
        Further arguments of the backbone, by name: weights, size, chunk, container, ... The backbone's defaults apply
        to arguments that are left out.
    """

    name: str
    device: str = "cpu"
    dtype: str | None = None
    compile: Compilation = "off"
    options: Mapping[str, Any] = field(default_factory=dict)
