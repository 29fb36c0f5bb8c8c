"""Files of head classes: which heads of each layer are static; all others are dynamic."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.backbone.presets import CUSTOM
from harness.errors import CheckpointError, KnobError, shown
from harness.memory import MemorySpec

SHIPPED = Path(__file__).parent / "heads"
"""Folder of the files that ship, one a backbone, named after it."""
RANDOM = ("wan-1.3b", "workbench")
"""Backbones with random weights, which no rollout can tell anything about."""
STATIC, DYNAMIC = "static_head", "dynamic_head"


def command(backbone: str | None) -> str:
    """Return the command that makes a file for a backbone."""
    return f"horizon calibrate forcing_kv --backbone {backbone or 'NAME'}"


def file_of(classes: str | None, backbone: str | None) -> Path | None:
    """Return the file that a knob names, or else the one that ships for a backbone, if any."""
    if classes is not None:
        return Path(classes)
    ships = SHIPPED / f"{backbone}.json"
    return ships if ships.is_file() else None


def static_heads(classes: str | None, spec: MemorySpec) -> tuple[tuple[int, ...], ...]:
    """Return the static heads of each layer.

    Without a file, every second head is static on shapes only and on backbones with random weights; so they can be
    planned, timed and verified.

    Parameters
    ----------
    classes: the file, or None for the one that ships.
    spec: that the memory is opened for.

    Raises
    ------
    KnobError: where there is no file for this backbone.
    CheckpointError: for a file that cannot be read, or is of another model.
    """
    heads, _ = spec.layout.one_head()
    path = file_of(classes, spec.backbone)
    if path is not None:
        return checked(path, read(path), spec.layers, heads, spec.backbone)
    if spec.device.type == "meta" or spec.backbone in RANDOM:
        return (tuple(range(0, heads, 2)),) * spec.layers
    raise KnobError(
        f"forcing_kv needs a file of head classes for {spec.backbone or 'this backbone'}: make one with "
        f"{command(spec.backbone)} and give it as classes=FILE"
    )


def read(path: Path) -> Mapping[str, Any]:
    """Return the content of a file. Raises CheckpointError for one that is missing or is no JSON object."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; make one with {command(None)}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: no file of head classes ({error}); make one with {command(None)}") from None


@cache
def _parsed(path: Path, changed: int) -> Mapping[str, Any]:
    """Return the content of a file as it was when it was last changed."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def checked(
    path: Path, content: Mapping[str, Any], layers: int, heads: int, backbone: str | None
) -> tuple[tuple[int, ...], ...]:
    """Return the static heads of each layer. Raises CheckpointError for the file of another model."""

    def wrong(reason: str) -> CheckpointError:
        return CheckpointError(f"{path}: {reason}; make one for this model with {command(backbone)}")

    named = content.get("backbone")
    # Without a name of its own a backbone may take any file of its shape, and a file fits any backbone.
    if named not in (None, CUSTOM) and backbone not in (None, CUSTOM, named):
        raise wrong(f"head classes of {shown(named)}, not of {backbone}")
    said = tuple(content.get(name, here) for name, here in (("num_layers", layers), ("num_heads", heads)))
    if said != (layers, heads):
        raise wrong(f"head classes of {said[0]} layers of {said[1]} heads, and the model has {layers} of {heads}")
    by_layer = content.get("layers", content)
    if not isinstance(by_layer, dict):
        raise wrong("its layers are no JSON object")
    found: dict[int, tuple[int, ...]] = {}
    for name, classes in by_layer.items():
        number = re.search(r"(\d+)$", name)
        if number is None:
            continue
        layer = int(number[1])
        if layer >= layers:
            raise wrong(f"it has layer {layer}, and the model has {layers} layers")
        found[layer] = _static(classes, heads, layer, wrong)
    if not found:
        raise wrong("it names no layer")
    return tuple(found.get(layer, ()) for layer in range(layers))


def _static(classes: Any, heads: int, layer: int, wrong: Any) -> tuple[int, ...]:
    """Return the static heads of a layer; all heads must be in one of two lists."""
    lists: list[Any] = [classes.get(name) if isinstance(classes, dict) else None for name in (STATIC, DYNAMIC)]
    if not all(isinstance(each, list) and all(type(head) is int for head in each) for each in lists):
        raise wrong(f"layer {layer} has no lists of whole numbers {STATIC} and {DYNAMIC}")
    given = [head for each in lists for head in each]
    if sorted(given) != list(range(heads)):
        missing = sorted(set(range(heads)) - set(given))
        raise wrong(
            f"layer {layer} must have each of {heads} heads once, static or dynamic; it "
            + (f"lacks {', '.join(map(str, missing))}" if missing else f"has {', '.join(map(str, sorted(given)))}")
        )
    return tuple(sorted(lists[0]))


def content(static: Sequence[Sequence[int]], heads: int, backbone: str, weights: str, about: str) -> dict[str, Any]:
    """Return the content of a file of head classes.

    weights: fingerprint of the model's. about: how they were found.
    """
    layers = {
        str(layer): {STATIC: list(here), DYNAMIC: [head for head in range(heads) if head not in here]}
        for layer, here in enumerate(static)
    }
    sizes = {"num_layers": len(static), "num_heads": heads}
    return {"backbone": backbone, **sizes, "weights": weights, "about": about, "layers": layers}
