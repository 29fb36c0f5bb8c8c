"""Loading of published checkpoints into a `CausalWan`, strictly, without executing any content of a file.

Containers: a dict with `generator_ema`, `generator` (Self-Forcing, Causal-Forcing, LongLive), `model` or `state_dict`,
or the bare parameters (always so in safetensors), in one file or in several with an index. Names may be those of
wrappers and of diffusers (`harness.backbone.checkpoints.names`).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from harness.backbone.checkpoints import names
from harness.backbone.checkpoints.naming import check_name
from harness.backbone.checkpoints.shards import INDEX, read_index
from harness.errors import CheckpointError, did_you_mean, shown
from harness.files import write_open
from harness.memory.terms import DTYPES

CONTAINERS = ("generator_ema", "generator", "model", "state_dict")
BARE = "bare"
"""Container name of a file that has no container."""
SCALES = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", "scaled_fp8")
"""Suffixes of the names of scales, which multiply weights of 8 bits."""
SHOWN = 4


def load_checkpoint(model: nn.Module, path: str | Path, key: str | None = None) -> str:
    """Load `path` into `model` strictly and return the container that was used ("generator_ema", ..., or "bare").

    `key` selects one container; without it the first of generator_ema, generator, model is used. The model keeps its
    data type and device; one on "meta" takes the tensors of the file, in its own data type. The model is unchanged if
    the file does not fit. Raises CheckpointError for a file that is missing, damaged, would execute code, or belongs to
    another architecture; the message names the keys.
    """
    state, taken = read_checkpoint(path, key)
    fill(model, state, path)
    return taken


def fill(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Set the parameters of a model from a state by native name, read from `path`, as `load_checkpoint` does."""
    wanted = model.state_dict()
    on_meta = any(x.is_meta for x in wanted.values())
    _compare(Path(path), state, wanted, on_meta)
    if on_meta:
        state = {name: x.to(wanted[name].dtype) for name, x in state.items()}
    model.load_state_dict(state, assign=on_meta)


def save_weights(module: nn.Module, path: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """Write a module's weights with metadata, as a whole file or not at all."""
    tensors = {name: x.detach().to("cpu", dtype).contiguous() for name, x in module.state_dict().items()}
    write_open(path, lambda file: file.write(save(tensors, metadata=dict(metadata))))


def read_metadata(path: Path, remedy: str) -> dict[str, str]:
    """Return the metadata of a safetensors file. Raises CheckpointError, with the `remedy`, where it is missing or
    damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {remedy}")
    check_name(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); {remedy}") from None


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of all parameters by name, rounded to bfloat16, so that it is the same in every data type."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(
    path: str | Path, key: str | None = None, usual: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """Return the parameters in `path` by native name, on the CPU, and the container they came from.

    Parameters
    ----------
    path: a checkpoint, or the index of one in several files.
    key: the container to read, "bare" for the file's own parameters.
    usual: without `key`, the container that is read where the file has it; a file without it must have exactly one of
        CONTAINERS, or none. With neither argument, the first of CONTAINERS is read.

    Raises
    ------
    CheckpointError: for a file that cannot be read safely, or leaves open which of its containers is meant, and for
        weights of 8 bits.
    """
    path = Path(path)
    content = read_content(path)
    if key is None and usual is not None:
        key = _usual(path, content, usual)
    state, taken = _tensors(path, content, CONTAINERS, key)
    if any(".lora_" in name for name in state):
        raise CheckpointError(f"{path}: a LoRA adapter, not a model; load its base first and merge the adapter into it")
    _check_precision(path, state)
    if names.is_diffusers(state):
        state = _renamed(path, state, map(names.parameter, state))
    return state, taken


def read_tensors(
    path: str | Path, containers: Sequence[str], loose: Sequence[str] = ()
) -> tuple[dict[str, Tensor], str]:
    """Return the tensors in the first of `containers` that a file has, or the file's own, and the container's name.
    Names are without the prefixes of wrappers; tensors are on the CPU. loose: names of settings that may stand beside
    the file's own tensors and are skipped.

    Raises CheckpointError for a file that is missing, damaged, needs code to be executed, or holds anything else.
    """
    path = Path(path)
    return _tensors(path, read_content(path), containers, loose=loose)


def _tensors(
    path: Path, content: Mapping[str, Any], containers: Sequence[str], key: str | None = None, loose: Sequence[str] = ()
) -> tuple[dict[str, Tensor], str]:
    """Return the result of `read_tensors` for the content of a file; key: the container to read."""
    taken = next((name for name in containers if isinstance(content.get(name), Mapping)), BARE)
    if key is not None:
        if not isinstance(content.get(key), Mapping) and (key != BARE or _containers(content)):
            raise CheckpointError(
                f"{path}: no container {shown(key)}{did_you_mean(key, _containers(content))}{_choice(content)}"
            )
        taken = key
    bare = {name: value for name, value in content.items() if name not in loose}
    state = content[taken] if isinstance(content.get(taken), Mapping) else bare
    if not _is_model(state):
        raise CheckpointError(
            f"{path}: not a checkpoint of a model: expected tensors by name, or a dict with one of "
            f"{', '.join(containers)}; found {_some(state)}"
        )
    return _renamed(path, state, names.native(state)), taken


def _usual(path: Path, content: Mapping[str, Any], usual: str) -> str | None:
    """Return the container to read when none was chosen: the usual one, else the only one."""
    if isinstance(content.get(usual), Mapping):
        return usual
    there = _containers(content)
    known = [name for name in there if name in CONTAINERS]
    if len(known) == 1 or not there:
        return known[0] if known else None
    raise CheckpointError(f"{path}: no container {usual!r}, which is the usual one{_choice(content)}")


def _containers(content: Mapping[str, Any]) -> list[str]:
    """Return the names of all entries that could be a model."""
    return sorted(
        name
        for name, held in content.items()
        if isinstance(name, str) and isinstance(held, Mapping) and _is_model(held)
    )


def _is_model(state: Mapping[str, Any]) -> bool:
    return bool(state) and all(isinstance(name, str) and isinstance(x, Tensor) for name, x in state.items())


def _choice(content: Mapping[str, Any]) -> str:
    """Return the part of a message that says what to choose instead of a container that is missing."""
    there = _containers(content)
    if there:
        return f"; it has {', '.join(map(_plain, there))}: choose with --container NAME"
    return f": it holds {'bare parameters; leave --container out' if _is_model(content) else _some(content)}"


def _renamed(path: Path, state: Mapping[str, Tensor], called: Iterable[str]) -> dict[str, Tensor]:
    """Return parameters under other names, which come in the same order."""
    found = dict(zip(called, state.values(), strict=True))
    if len(found) != len(state):
        raise CheckpointError(
            f"{path}: several parameters share a name once prefixes are removed and diffusers' names are translated"
        )
    return found


def _check_precision(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights of 8 bits or fewer, before their scales look like another architecture."""
    small = {name: x for name, x in state.items() if str(x.dtype).startswith(("torch.float8", "torch.float4"))}
    scale = next((name for name in state if name.endswith(SCALES)), None)
    if not small and scale is None:
        return
    what = [f"{name} is stored as {x.dtype}" for name, x in small.items()][:1]
    what += [f"{scale} is a scale of such weights"] if scale else []
    raise CheckpointError(
        f"{path}: quantised weights: {_plain(' and '.join(what))}; a model is read from {', '.join(DTYPES)}: take the "
        "file that these were made from, in bfloat16 or float32"
    )


def read_content(path: Path) -> Mapping[str, Any]:
    """Return the content of a file of tensors, by name. Raises CheckpointError for one that cannot be read safely."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the path of a .pt or .safetensors checkpoint")
    check_name(path)
    if path.name.endswith(INDEX):
        return _gathered(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: refused, because reading it would execute code or it is not a checkpoint at all; "
            "ask its author for a file of plain tensors (safetensors)"
        ) from None
    except Exception as error:
        # Readers of a damaged file raise errors of any kind, IndexError and struct.error among them.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({reason}); fetch it again") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not parameters by name")
    return content


def _gathered(path: Path) -> dict[str, Tensor]:
    """Return the tensors of all files of an index. Raises CheckpointError unless each is where the index says."""
    files = read_index(path)
    found: dict[str, Tensor] = {}
    for file in sorted(set(files.values())):
        held = read_content(path.with_name(file))
        listed = {name for name, where in files.items() if where == file}
        if held.keys() != listed:
            parts = [f"lacks {_some(listed - held.keys())}"] * bool(listed - held.keys())
            parts += [f"also holds {_some(held.keys() - listed)}"] * bool(held.keys() - listed)
            raise CheckpointError(
                f"{path}: not the index of {file}, which {' and '.join(parts)}; fetch index and files again together"
            )
        found |= held
    return found


def _is_zip(path: Path) -> bool:
    """Return whether this is torch's current format, which can be memory-mapped."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _compare(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], on_meta: bool) -> None:
    missing, unexpected = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unexpected:
        parts = [f"missing {_some(missing)}"] * bool(missing) + [f"unexpected {_some(unexpected)}"] * bool(unexpected)
        raise CheckpointError(
            f"{path}: another architecture: {'; '.join(parts)}; this model has {len(wanted)} parameters, "
            f"the file {len(state)}"
        )
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: another size: {name} is {list(value.shape)}, this model needs {list(wanted[name].shape)}"
            )
        if value.dtype not in DTYPES.values():
            raise CheckpointError(
                f"{path}: {name} is stored as {value.dtype}; a model is read from {', '.join(DTYPES)}"
            )
        if value.layout != torch.strided or (value.is_meta and not on_meta):
            kind = "holds no numbers (it is on the meta device)" if value.is_meta else f"is stored as {value.layout}"
            raise CheckpointError(f"{path}: {name} {kind}; save plain dense tensors")


def _some(things: Iterable[object]) -> str:
    """Return the first few names and the number of the others."""
    ordered = sorted(map(_plain, things))
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{', '.join(ordered[:SHOWN])}{more}" if ordered else "nothing"


def _plain(name: object) -> str:
    """Return a name in one line; one with a line break or a control character is written as in code."""
    return name if isinstance(name, str) and name.isprintable() else repr(name)
