"""LoRA adapters, merged into the weights that they change.

Source: LoRA, arXiv:2106.09685; rsLoRA, arXiv:2312.03732; LongLive, arXiv:2509.22622, whose adapter of rank 256 with
alpha 256 changes every linear layer inside every block. Unmerged, it costs every pass two more products a layer;
merged, nothing.

The product of the two matrices counts alpha / rank times (rsLoRA: alpha / sqrt(rank)). Alpha is looked for in the file,
a scalar a layer or one for all, then in `adapter_config.json` beside it, as peft writes it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.backbone.checkpoints import names, read_content, read_tensors
from harness.errors import CheckpointError

CONTAINER = "generator_lora"
"""Of LongLive's published adapter, whose alpha is its rank and stands nowhere."""
CONFIG = "adapter_config.json"
SCALES = ("lora_alpha", "network_alpha", "alpha")
"""What alpha is called beside the matrices."""
_HALVES = {"lora_A": "A", "lora_down": "A", "lora.down": "A", "lora_B": "B", "lora_up": "B", "lora.up": "B"}
_NAME = re.compile(r"(?P<module>.+)\.(?P<half>lora_[AB]|lora_down|lora_up|lora\.down|lora\.up)(?:\.default)?\.weight")
_PREFIX = re.compile(r"(?:base_model\.model\.|diffusion_model\.|transformer\.|model\.)+")
_OTHERS = {
    "lora_magnitude_vector": "DoRA",
    "dora_scale": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "diff": "full weights",
}
FLAT = "lora_unet_"
"""Prefix of names whose dots are underscores, as some trainers write them."""


def read_adapter(path: str | Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The pairs (A [rank, in], B [out, rank], scaled) of a LoRA file by the module that they change.

    Names are read as peft, diffusers, ComfyUI and kohya's trainer write them.
    Raises CheckpointError for a file that is missing, damaged, unsafe, no adapter, or one whose scale is not known.
    """
    path = Path(path)
    state, container = read_tensors(path, (CONTAINER,), loose=SCALES)
    halves: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    called: dict[str, str] = {}
    for name, value in state.items():
        if name.endswith(".alpha") and value.numel() == 1:
            alphas[_module(name.removesuffix(".alpha"))] = float(value)
            continue
        named = _NAME.fullmatch(name)
        if named is None or value.ndim != 2:
            kind = next((f"; it is {what}, not LoRA" for part, what in _OTHERS.items() if f".{part}" in name), "")
            raise CheckpointError(
                f"{path}: not a LoRA adapter: {name} is no matrix lora_A or lora_B of a linear layer{kind}"
            )
        module = _module(named["module"])
        called[module] = named["module"]
        halves.setdefault(module, {})[_HALVES[named["half"]]] = value
    for module, pair in halves.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            shapes = ", ".join(f"{half} {list(value.shape)}" for half, value in sorted(pair.items()))
            raise CheckpointError(f"{path}: {module} has no fitting pair of matrices: {shapes}")
    config = _config(path, container)
    found = {}
    for module, pair in halves.items():
        scale = _scale(path, (module, called[module]), pair["A"].shape[0], alphas, config)
        found[module] = pair["A"], pair["B"] if scale == 1 else pair["B"].float() * scale
    return found


def merged(
    state: Mapping[str, Tensor], adapter: Mapping[str, tuple[Tensor, Tensor]], path: str | Path
) -> dict[str, Tensor]:
    """Parameters by native name with W + B A for every weight that the adapter changes, computed in float32.

    Raises CheckpointError, naming the layer and the adapter's `path`, for one that belongs to another architecture.
    """
    whole = dict(state)
    flat = {name.removesuffix(".weight").replace(".", "_"): name.removesuffix(".weight") for name in state}
    for named, (down, up) in adapter.items():
        module = flat.get(named.removeprefix(FLAT), named) if named.startswith(FLAT) else named
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


def _module(name: str) -> str:
    """The native name of a layer."""
    prefix = _PREFIX.match(name)
    return names.layer(name[prefix.end() :] if prefix else name)


def _config(path: Path, container: str) -> dict[str, Any]:
    """What is said of all layers: in the file beside the matrices, else in peft's file beside it."""
    content = read_content(path)
    for name in SCALES:
        if isinstance(content.get(name), int | float | Tensor) and not isinstance(content.get(name), bool):
            return {"lora_alpha": float(content[name])}
    beside = path.with_name(CONFIG)
    if beside.is_file():
        try:
            found = json.loads(beside.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{beside}: not a configuration of peft ({error}); fetch it again") from None
        if found.get("use_dora"):
            raise CheckpointError(f"{beside}: says DoRA, which is not merged here; merge it with peft first")
        return found
    return {"as published": True} if container == CONTAINER else {}


def _scale(
    path: Path, called: tuple[str, str], rank: int, alphas: Mapping[str, float], config: Mapping[str, Any]
) -> float:
    """What the product of a layer's matrices counts. called: the names of the layer, native and as in the file."""
    patterns = config.get("alpha_pattern") or {}
    alpha: Any = config.get("lora_alpha")
    if config.get("as published"):
        alpha = rank
    if called[0] in alphas:
        alpha = alphas[called[0]]
    else:
        alpha = next((value for key, value in patterns.items() if any(_fits(key, name) for name in called)), alpha)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise CheckpointError(
            f"{path}: the scale of the adapter is not known: alpha stands neither in the file nor in {CONFIG} beside "
            "it; put the configuration that came with the adapter there"
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _fits(key: str, module: str) -> bool:
    """Whether a pattern of peft means a layer: the end of its name."""
    try:
        return re.fullmatch(rf"(?:.*\.)?(?:{key})", module) is not None
    except re.error:
        return False
