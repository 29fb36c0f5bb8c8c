"""The request for a backbone, passed between commands, campaigns and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        Data type of the weights, for instance "bfloat16"; None for the backbone's usual one.
    options
        Further arguments of the backbone, by name: weights, size, chunk, container, ... The backbone's defaults apply
        to arguments that are left out.
    """

    name: str
    device: str = "cpu"
    dtype: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
