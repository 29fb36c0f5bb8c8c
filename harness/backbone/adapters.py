"""LoRA adapters, merged into the weights that they change.

Source: LoRA, arXiv:2106.09685; LongLive, arXiv:2509.22622, whose adapter of rank 256 with alpha 256 changes every
linear layer inside every block. Unmerged, it costs every pass two more products a layer; merged, nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.backbone.checkpoints import read_tensors
from harness.errors import CheckpointError

CONTAINER = "generator_lora"
_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")


def read_adapter(path: str | Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The pairs (A [rank, in], B [out, rank]) of a LoRA file as peft names them, by the module that they change.

    Raises CheckpointError for a file that is missing, damaged, unsafe, or no adapter.
    """
    state, _ = read_tensors(path, (CONTAINER,))
    halves: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        named = _NAME.fullmatch(name)
        if named is None or value.ndim != 2:
            raise CheckpointError(f"{path}: not a LoRA adapter: {name} is no matrix lora_A or lora_B of a linear layer")
        halves.setdefault(named[1], {})[named[2]] = value
    for module, pair in halves.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            shapes = ", ".join(f"{half} {list(value.shape)}" for half, value in sorted(pair.items()))
            raise CheckpointError(f"{path}: {module} has no fitting pair of matrices: {shapes}")
    return {module: (pair["A"], pair["B"]) for module, pair in halves.items()}


def merged(
    state: Mapping[str, Tensor], adapter: Mapping[str, tuple[Tensor, Tensor]], path: str | Path
) -> dict[str, Tensor]:
    """Parameters by native name with W + B A for every weight that the adapter changes, computed in float32.

    alpha is the rank, as published, so that nothing scales the product. Raises CheckpointError, naming the layer and
    the adapter's `path`, for one that belongs to another architecture.
    """
    whole = dict(state)
    for module, (down, up) in adapter.items():
        weight = whole.get(f"{module}.weight")
        if weight is None:
            raise CheckpointError(f"{path}: an adapter of another architecture: the base has no layer {module}")
        if weight.shape != (up.shape[0], down.shape[1]):
            raise CheckpointError(
                f"{path}: an adapter of another size: it changes {module} by {[up.shape[0], down.shape[1]]}, the base "
                f"has {list(weight.shape)}"
            )
        whole[f"{module}.weight"] = torch.addmm(weight.float(), up.float(), down.float())
    return whole
