"""What is asked for where a backbone is opened: the one record that commands, campaigns and processes hand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BackboneRequest:
    """A backbone that is asked for; `harness.registry.open_backbone` opens it.

    Parameters
    ----------
    name
        Registered under `horizon.backbones`.
    device
        "cpu", "cuda", "cuda:1", ..., or "meta" for shapes only.
    dtype
        Of the weights, "bfloat16" for instance; None for the backbone's usual one.
    options
        What the backbone takes beside them, by name: weights, size, chunk, container, ... What is left out stays as
        the backbone has it.
    """

    name: str
    device: str = "cpu"
    dtype: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
