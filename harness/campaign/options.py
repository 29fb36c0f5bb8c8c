"""Checks of a campaign's options before anything is built: device, size, and the grid of knobs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.backbone.request import BackboneRequest, Compilation
from harness.errors import CampaignError, PresetError
from harness.limits import LARGEST_SIDE, MOST_ARMS


def computing(device: str) -> str:
    """Return the name of a device. Raises PresetError for "meta", where tensors have shapes only."""
    if device.partition(":")[0] == "meta":
        raise PresetError(
            "device 'meta' holds shapes and no numbers; allowed: cpu, cuda (horizon plan uses shapes only)"
        )
    return device


def backbone_request(
    name: str,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    compile: Compilation = "off",
    weights: str | None = None,
    size: str | None = None,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int | None = None,
    decoder: str | None = None,
) -> BackboneRequest:
    """Return the request for a backbone from options as typed. Raises CampaignError for an invalid size."""
    options = options_of(weights, size, tiling, offload, container, chunk, decoder)
    return BackboneRequest(name=name, device=device, dtype=dtype, compile=compile, options=options)


def options_of(
    weights: str | None = None,
    size: str | None = None,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int | None = None,
    decoder: str | None = None,
) -> dict[str, Any]:
    """Return the given options of a backbone; options that are not given are left to the backbone's defaults.

    Raises CampaignError for a size that is not "HEIGHTxWIDTH" in pixels.
    """
    options: dict[str, Any] = {
        "weights": weights,
        "tiling": tiling or None,
        "offload": offload or None,
        "container": container,
        "chunk": chunk,
        "decoder": decoder,
    }
    if size is not None:
        found = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", size.lower())
        if found is None or not all(1 <= int(side) <= LARGEST_SIDE for side in found.groups()):
            raise CampaignError(
                f"size {size[:40]!r}: write height x width in pixels, each 1 to {LARGEST_SIDE:,}, for instance 480x832"
            )
        options["size"] = (int(found[1]), int(found[2]))
    return {key: value for key, value in options.items() if value is not None}


def check_grid(knobs: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    """Raise CampaignError for a knob without values, and for more than `MOST_ARMS` arms; no arm is made here.

    Parameters
    ----------
    knobs
        For each strategy and knob, a value or a list of values.
    names
        The strategies as typed.
    """
    number = 0
    for text in names:
        name, counts = text.partition(".")[0], []
        for knob, values in knobs.get(name, {}).items():
            if values == []:
                raise CampaignError(f"knobs.{name}.{knob} is an empty list; give it values")
            counts.append(len(values) if isinstance(values, list) else 1)
        number += math.prod(counts)
    if number > MOST_ARMS:
        raise CampaignError(f"the grid of knobs has {number:,} arms; at most {MOST_ARMS:,}: give fewer values")
