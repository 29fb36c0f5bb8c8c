"""A checkout of VBench: check of its commit, and its list of prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import TreeError
from suites.viewers.vbench.scores import COMMIT

PROMPTS = ("vbench/VBench_full_info.json", "VBench_full_info.json")
"""Possible places of VBench's list of prompts in a checkout."""


@dataclass(frozen=True)
class Asked:
    """Request for a video: its dimensions, and the entries of VBench's list for its prompt that some of them need."""

    dimensions: tuple[str, ...]
    known: Mapping[str, Any] = field(default_factory=dict)


def check_checkout(place: Path) -> None:
    """Raise TreeError for a folder that is not a checkout of VBench at the pinned commit."""
    remedy = f"git clone https://github.com/Vchitect/VBench {place} ; git -C {place} checkout {COMMIT}"
    found = _commit(place / ".git")
    if found is None:
        raise TreeError(f"{place}: no checkout of VBench; make one with: {remedy}")
    if found != COMMIT:
        raise TreeError(f"{place}: a checkout of VBench at {found[:12]}, not at {COMMIT[:12]}; mend it with: {remedy}")


def read_prompts(checkout: Path) -> dict[str, Asked]:
    """Return VBench's prompts with their dimensions. Raises TreeError for a checkout without a list of them."""
    place = next((path for name in PROMPTS if (path := checkout / name).is_file()), None)
    if place is None:
        raise TreeError(f"{checkout}: has no {PROMPTS[0]}; mend it with: git -C {checkout} checkout -f {COMMIT}")
    found: dict[str, Asked] = {}
    # Two prompts are listed twice, with different dimensions.
    for each in json.loads(place.read_text(encoding="utf-8")):
        before = found.get(each["prompt_en"], Asked(()))
        found[each["prompt_en"]] = Asked(
            (*before.dimensions, *each["dimension"]), {**before.known, **each.get("auxiliary_info", {})}
        )
    return found


def _commit(git: Path) -> str | None:
    """Return the commit that is checked out, read without git."""
    if git.is_file():
        git = git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    if not (git / "HEAD").is_file():
        return None
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    if (git / name).is_file():
        return (git / name).read_text(encoding="utf-8").strip()
    packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines() if (git / "packed-refs").is_file() else []
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
