"""Published checkpoints into a `CausalWan`, strictly, without ever executing what a file contains.

Containers (Self-Forcing and LongLive releases): a dict with `generator_ema`, `generator` or `model`, or the bare
parameters; names may carry prefixes of FSDP, of torch.compile, and of the wrapper that owned the model.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import CheckpointError
from harness.files import write_whole
from harness.memory import DTYPES

CONTAINERS = ("generator_ema", "generator", "model")
INFIXES = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
OWNERS = ("model.", "net.")
SHOWN = 4


def load_checkpoint(model: nn.Module, path: str | Path, key: str | None = None) -> str:
    """Load `path` into `model` strictly and return which container was taken ("generator_ema", ..., or "bare").

    `key` asks for one container; without it the first of generator_ema, generator, model is taken. The model keeps its
    data type and device; one on "meta" takes the tensors of the file, in its own data type. Nothing of the model
    changes if the file does not fit. Raises CheckpointError for a file that is missing, damaged, needs code to be
    executed, or belongs to another architecture; the message names the keys.
    """
    state, taken = read_checkpoint(path, key)
    fill(model, state, path)
    return taken


def fill(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Put parameters by native name, which came from `path`, into a model, as `load_checkpoint` does."""
    wanted = model.state_dict()
    on_meta = any(x.is_meta for x in wanted.values())
    _compare(Path(path), state, wanted, on_meta)
    if on_meta:
        state = {name: x.to(wanted[name].dtype) for name, x in state.items()}
    model.load_state_dict(state, assign=on_meta)


def save_weights(module: nn.Module, path: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """Write a module's weights, and what they are about; the file is there whole or not at all."""
    tensors = {name: x.detach().to("cpu", dtype).contiguous() for name, x in module.state_dict().items()}
    write_whole(path, lambda beside: save_file(tensors, beside, metadata=dict(metadata)))


def read_metadata(path: Path, remedy: str) -> dict[str, str]:
    """What a safetensors file says of itself. Raises CheckpointError, with the `remedy`, where it is missing or
    damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); {remedy}") from None


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters by name, rounded to bfloat16: the same in every data type that a model is used in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: str | Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The parameters in `path` by native name, on the CPU, and which container they came from."""
    path = Path(path)
    native, taken = read_tensors(path, CONTAINERS, key)
    if any(".lora_" in name for name in native):
        raise CheckpointError(f"{path}: a LoRA adapter, not a model; load its base first and merge the adapter into it")
    return native, taken


def read_tensors(
    path: str | Path, containers: Sequence[str], key: str | None = None, loose: Sequence[str] = ()
) -> tuple[dict[str, Tensor], str]:
    """The tensors in the first of `containers` that a file has, or in the one called `key`, or the file's own; by their
    names without the prefixes of wrappers, on the CPU; and which container it was. loose: names of settings that may
    stand beside the file's own tensors, and are left out.

    Raises CheckpointError for a file that is missing, damaged, needs code to be executed, or holds anything else.
    """
    path = Path(path)
    content = read_content(path)
    taken = "bare"
    if key is not None:
        if not isinstance(content.get(key), Mapping):
            raise CheckpointError(f"{path}: no container {key!r}; it has {_some(content)}")
        taken = key
    else:
        taken = next((name for name in containers if isinstance(content.get(name), Mapping)), "bare")
    bare = {name: value for name, value in content.items() if name not in loose}
    state = bare if taken == "bare" else content[taken]
    if not state or not all(isinstance(name, str) and isinstance(x, Tensor) for name, x in state.items()):
        raise CheckpointError(
            f"{path}: not a checkpoint of a model: expected tensors by name, or a dict with one of "
            f"{', '.join(containers)}; found {_some(state)}"
        )
    native = dict(zip(_native(state), state.values(), strict=True))
    if len(native) != len(state):
        raise CheckpointError(f"{path}: several parameters share a name once wrapper prefixes are removed")
    return native, taken


def read_content(path: Path) -> Mapping[str, Any]:
    """Whatever a file of tensors holds, by name. Raises CheckpointError for one that cannot be read safely."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the path of a .pt or .safetensors checkpoint")
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
        # A damaged file meets its reader with errors of any kind, IndexError and struct.error among them.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({reason}); fetch it again") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not parameters by name")
    return content


def _is_zip(path: Path) -> bool:
    """Whether this is torch's current format, which can be mapped instead of read."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _native(names: Iterable[str]) -> list[str]:
    """Names without what wrappers added to them, in the same order."""
    bare = list(names)
    for infix in INFIXES:
        bare = [name.replace(infix, "") for name in bare]
    for owner in OWNERS:
        # A wrapper's prefix is on every name, a module that happens to be called so is not.
        if all(name.startswith(owner) for name in bare):
            return [name.removeprefix(owner) for name in bare]
    return bare


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


def _some(names: Iterable[object]) -> str:
    """The first few names, and how many there are."""
    # A name may be anything; shown as written in code if a line break or a control character is in it.
    ordered = sorted(name if isinstance(name, str) and name.isprintable() else repr(name) for name in names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{', '.join(ordered[:SHOWN])}{more}" if ordered else "nothing"
