"""LoRA adapters, merged into the weights that they change.

Source: LoRA, arXiv:2106.09685; rsLoRA, arXiv:2312.03732; LongLive, arXiv:2509.22622, whose adapter of rank 256 with
alpha 256 changes every linear layer inside every block. Unmerged, it would add two products a layer to every pass;
merged, it adds none.

The product of the two matrices is scaled by alpha / rank (rsLoRA: alpha / sqrt(rank)). Alpha is read from the file, as
a scalar for each layer or for all, else from `adapter_config.json` beside it, in peft's format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.backbone.checkpoints import names, read_content, read_tensors
from harness.errors import CheckpointError, shown
from harness.files import load_json
from harness.memory.terms import DTYPES

CONTAINER = "generator_lora"
"""Container of LongLive's published adapter, whose alpha equals its rank and is not stored."""
CONFIG = "adapter_config.json"
SCALES = ("lora_alpha", "network_alpha", "alpha")
"""Names of alpha beside the matrices."""
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
REPEATS = 4
"""Most repetitions in a pattern of peft; with this many, matching the longest layer name is still fast."""
_APART = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_REPEAT = re.compile(r".[*+?{]", re.DOTALL)
FLAT = "lora_unet_"
"""Prefix of names whose dots are underscores, as some trainers write them."""


def read_adapter(path: str | Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the pairs (A [rank, in], B [out, rank], scaled) of a LoRA file by the module that they change.

    Names may have the forms that peft, diffusers, ComfyUI and kohya's trainer write.
    Raises CheckpointError for a file that is missing, damaged, unsafe, not an adapter, or of unknown scale.
    """
    path = Path(path)
    state, container = read_tensors(path, (CONTAINER,), loose=SCALES)
    halves: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    called: dict[str, str] = {}
    for name, value in state.items():
        if name.endswith(".alpha"):
            module = _module(name.removesuffix(".alpha"))
            if module in alphas:
                raise CheckpointError(f"{path}: alpha of {module} is there twice, under two names; keep one of them")
            alphas[module] = _number(path, name, value)
            continue
        named = _NAME.fullmatch(name)
        if named is None or value.ndim != 2:
            kind = next((f"; it is {what}, not LoRA" for part, what in _OTHERS.items() if f".{part}" in name), "")
            raise CheckpointError(
                f"{path}: not a LoRA adapter: {name} is not a matrix lora_A or lora_B of a linear layer{kind}"
            )
        _check_stored(path, name, value)
        module, half = _module(named["module"]), _HALVES[named["half"]]
        called[module] = named["module"]
        if half in halves.setdefault(module, {}):
            raise CheckpointError(f"{path}: {module} is changed twice, under two names; keep one of them")
        halves[module][half] = value
    for module, pair in halves.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            shapes = ", ".join(f"{half} {list(value.shape)}" for half, value in sorted(pair.items()))
            raise CheckpointError(f"{path}: {module} has no fitting pair of matrices: {shapes}")
        if not pair["A"].shape[0]:
            raise CheckpointError(f"{path}: {module} has matrices of rank 0, which change nothing; leave them out")
    config = _config(path, container)
    found = {}
    for module, pair in halves.items():
        scale = _scale(path, (module, called[module]), pair["A"].shape[0], alphas, config)
        found[module] = pair["A"], pair["B"] if scale == 1 else pair["B"].float() * scale
    return found


def merged(
    state: Mapping[str, Tensor], adapter: Mapping[str, tuple[Tensor, Tensor]], path: str | Path
) -> dict[str, Tensor]:
    """Return parameters by native name with W + B A for every weight that the adapter changes, computed in float32.

    Raises CheckpointError, naming the layer and the adapter's `path`, for one that belongs to another architecture.
    """
    whole, done = dict(state), set[str]()
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
        if module in done:
            raise CheckpointError(f"{path}: {module} is changed twice, under two names; keep one of them")
        if not weight.is_meta and (down.is_meta or up.is_meta):
            raise CheckpointError(f"{path}: {module} holds no numbers (it is on the meta device); save the tensors")
        done.add(module)
        whole[f"{module}.weight"] = torch.addmm(weight.float(), up.float(), down.float())
    return whole


def _module(name: str) -> str:
    """Return the native name of a layer."""
    prefix = _PREFIX.match(name)
    return names.layer(name[prefix.end() :] if prefix else name)


def _config(path: Path, container: str) -> dict[str, Any]:
    """Return the settings of all layers: from the file with the matrices, else from peft's file beside it."""
    content = read_content(path)
    for name in SCALES:
        if content.get(name) is not None:
            return {"lora_alpha": _number(path, name, content[name])}
    beside = path.with_name(CONFIG)
    if beside.is_file():
        try:
            found = load_json(beside)
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{beside}: not a configuration of peft ({error}); fetch it again") from None
        if found.get("use_dora"):
            raise CheckpointError(f"{beside}: says DoRA, which is not merged here; merge it with peft first")
        alpha, patterns = found.get("lora_alpha"), found.get("alpha_pattern")
        if patterns is not None and not isinstance(patterns, dict):
            raise CheckpointError(f"{beside}: alpha_pattern is {shown(patterns)}, not numbers by layer")
        found["alpha_pattern"] = [
            (_pattern(beside, key), _number(beside, f"alpha_pattern of {key}", value))
            for key, value in (patterns or {}).items()
        ]
        return found | {"lora_alpha": None if alpha is None else _number(beside, "lora_alpha", alpha)}
    return {"as published": True} if container == CONTAINER else {}


def _scale(
    path: Path, called: tuple[str, str], rank: int, alphas: Mapping[str, float], config: Mapping[str, Any]
) -> float:
    """Return the scale of a layer's product. called: the names of the layer, native and as in the file."""
    patterns: list[tuple[re.Pattern[str], float]] = config.get("alpha_pattern", [])
    alpha: float | None = config.get("lora_alpha")
    if config.get("as published"):
        alpha = rank
    if called[0] in alphas:
        alpha = alphas[called[0]]
    else:
        alpha = next((value for key, value in patterns if any(map(key.fullmatch, called))), alpha)
    if alpha is None:
        raise CheckpointError(
            f"{path}: the scale of the adapter is not known: alpha is neither in the file nor in {CONFIG} beside it; "
            "put the configuration that came with the adapter there"
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _number(path: Path, name: str, value: object) -> float:
    """Return an alpha as a number; raise CheckpointError for anything else."""
    told = value
    if isinstance(value, Tensor):
        told = f"{value.dtype} {list(value.shape)} on {value.device}"
        value = value.item() if value.numel() == 1 and not value.is_meta else None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise CheckpointError(f"{path}: {name} is not a finite number: {shown(told)}; fetch the adapter again")


def _check_stored(path: Path, name: str, value: Tensor) -> None:
    """Raise CheckpointError for a matrix that cannot be multiplied as it is."""
    if value.layout != torch.strided:
        raise CheckpointError(f"{path}: {name} is stored as {value.layout}; save plain dense tensors")
    if value.dtype not in DTYPES.values():
        raise CheckpointError(f"{path}: {name} is stored as {value.dtype}; an adapter is read from {', '.join(DTYPES)}")


def _pattern(path: Path, key: str) -> re.Pattern[str]:
    """Return a pattern of peft, which matches the ends of layers' names. Raises CheckpointError for an invalid regular
    expression, and for one whose matching could take unbounded time, since a file must not make a command hang."""
    plain = _APART.sub("x", key).replace("(?:", "(")
    repeats = _REPEAT.findall(plain)
    if len(repeats) > REPEATS or "(?" in plain or any(each[0] == ")" and each[1] != "?" for each in repeats):
        raise CheckpointError(
            f"{path}: alpha_pattern: {shown(key)} is too complex: allowed are at most {REPEATS} of * + ? {{}}, and no "
            "repeated group; write the layers' names"
        )
    try:
        return re.compile(rf"(?:.*\.)?(?:{key})")
    except (re.error, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: alpha_pattern: {shown(key)} is no regular expression ({error})") from None
