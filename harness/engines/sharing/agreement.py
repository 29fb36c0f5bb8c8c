"""What all processes of a run agree on: the code that computes cells, and the kind of machine that measures cost."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness import __version__
from harness.errors import CampaignError, StoreError
from harness.files import own, read_json, write_new
from harness.provenance.environment import cpu

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.campaign.expansion import Cell
    from harness.store.store import Store

MOVE = "check out one commit on all machines, or let one of them finish first"


def code_digest(cells: Sequence[Cell]) -> str:
    """Return a digest of the code of all cells."""
    codes = sorted({cell.code.all.digest for cell in cells if cell.code is not None})
    return hashlib.sha256(json.dumps([__version__, *codes]).encode()).hexdigest()[:16]


def check_code(store: Store, cells: Sequence[Cell], name: str | None, environment: Mapping[str, Any]) -> None:
    """Raise CampaignError where another process runs this campaign at present, or this run, with other code.

    Parameters
    ----------
    store
        The campaign's folder, which has begun.
    cells
        All cells.
    name
        Name of the run, if several processes share it; None otherwise.
    environment
        The environment of this process, for its machine and commit.
    """
    mine = {cell.id: cell.code.all.digest for cell in cells if cell.code is not None}
    here = {
        "code": code_digest(cells),
        "host": environment.get("machine", ""),
        "commit": (environment.get("code") or {}).get("commit") or __version__,
    }
    known = here if name is None else agreed(store.flight, f"{name}.code", here)
    if known.get("code") != here["code"]:
        raise CampaignError(
            f"another machine of this run, {known.get('host')}, has Horizon at {_short(known)}, and this one has other "
            f"code ({_short(here)}): {MOVE}"
        )
    for cell, claim in store.held().items():
        code = claim.get("code")
        if code and cell in mine and code != mine[cell]:
            raise CampaignError(
                f"process {claim['pid']} on {claim['host']} runs {claim.get('arm', cell)} in this folder with other "
                f"code than this machine's ({_short(here)}): {MOVE}"
            )


def measures_here(store: Store, name: str, backbone: Backbone) -> str | None:
    """Return None where this process may measure cells of cost suites, or the kind of machine that does so.

    The first process of a run that measures decides on the kind, so that all speeds of the run belong to one cohort.
    """
    mine = kind_of(backbone)
    known = agreed(store.flight, f"{name}.kind", mine)
    return None if known == mine else ", ".join(map(str, known.values()))


def kind_of(backbone: Backbone) -> dict[str, str]:
    """Return what must be equal for two machines that measure: the device's name, torch, and the attention kernel."""
    device = backbone.model.device
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu()
    return {"hardware": hardware, "torch": str(torch.__version__), "attention": backbone.attention_kernel}


def agreed(flight: Path, name: str, mine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first process that asked under this name has said; this one's answer if it is the first."""
    path = own(flight, re.sub(r"[^A-Za-z0-9_.-]", "_", name))
    if write_new(path, json.dumps(dict(mine))):
        return dict(mine)
    with suppress(StoreError):
        return read_json(path, "")
    return dict(mine)


def _short(said: Mapping[str, Any]) -> str:
    return str(said.get("commit", ""))[:12] or "an unknown commit"
