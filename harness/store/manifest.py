"""The manifest of a campaign's folder: what was asked for, in which runs, on what machines and by which code.

format         of the folder
name           the campaign's
asked          backbone, whether its world is known, weights, dtype, tier, seed (seeds, where there are several), suites
               with their versions, arms, ids of cells
plan           by id of a cell: its arm, suite, scenario, latent frames and rollouts
runs           one after the other: when it began, and the digest of its environment
environments   by digest: code, versions, machine, device, threads, attention kernel
codes          by digest: the modules that compute a cell, each with its own digest
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import StoreError

FORMAT = 2
"""Of the folder; a store of another format is refused."""
SHARED, SUITES = ("backbone", "weights", "dtype", "tier", "seed"), "suite_versions"
"""What all cells of a folder have in common; and where the versions of its suites are, which are common too."""


def content_id(what: Any) -> str:
    """Sixteen hexadecimal digits that name a nested value of plain data."""
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same(folder: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise StoreError, naming the first difference, unless a folder's campaign and another can share it."""

    def refuse(what: str, there: Any, here: Any) -> None:
        raise StoreError(
            f"{folder} holds another campaign: its {what} is {_short(there)}, not {_short(here)}; give --out another "
            "folder, or move this one away"
        )

    for key in SHARED:
        if known.get(key) != asked.get(key):
            refuse(key, known.get(key), asked.get(key))
    budgets = [
        {arm["budget_bytes"] for arm in each.get("arms", ()) if arm.get("budget_bytes")} for each in (known, asked)
    ]
    if all(budgets) and budgets[0] != budgets[1]:
        raise StoreError(
            f"{folder} holds arms at an equal budget of {min(budgets[0]):,} bytes, not {min(budgets[1]):,}; give --out "
            "another folder, or --equal-budget 0"
        )
    versions = asked.get(SUITES) or {}
    for name, version in (known.get(SUITES) or {}).items():
        # A suite may be added; one that is there must be of the same version.
        if versions.get(name, version) != version:
            refuse(f"version of suite {name}", version, versions[name])


def seeds_of(asked: Mapping[str, Any]) -> list[Any]:
    """The seeds of a campaign; a single one stands alone, and the first of several is that of the folder."""
    return list(asked.get("seeds") or [asked.get("seed")])


def has_known_world(asked: Mapping[str, Any]) -> bool:
    """Whether rollouts of a campaign are compared with the truth of a known world.

    Manifests that were written before backbones declared a world do not say so; their only known world was the pocket.
    """
    return bool(asked.get("known_world", asked.get("backbone") == "pocket"))


def first(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a folder with one run."""
    environment = dict(manifest.get("environment") or {})
    key = content_id(environment)
    rest = {name: value for name, value in manifest.items() if name not in ("environment", "codes", "when")}
    return {
        "format": FORMAT,
        **rest,
        "runs": [{"when": manifest.get("when", ""), "environment": key}],
        "environments": {key: environment},
        "codes": dict(manifest.get("codes") or {}),
        "plan": dict(manifest.get("plan") or {}),
    }


def joined(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Two manifests of one campaign in one."""
    whole = {**new, **known, "asked": _united(known["asked"], new["asked"])}
    whole |= {name: {**known[name], **new[name]} for name in ("plan", "environments", "codes")}
    # The same command again on the same machine is the same run, gone on with.
    runs = [*known["runs"], *new["runs"]]
    if whole == {**known, "runs": whole["runs"]} and new["runs"][-1]["environment"] == known["runs"][-1]["environment"]:
        runs = known["runs"]
    whole["runs"] = [run for number, run in enumerate(runs) if run not in runs[:number]]
    return whole


def _united(known: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for now, and what was asked for before."""
    arms = {arm["label"]: arm for arm in known["arms"]}
    for arm in asked["arms"]:
        before = arms.get(arm["label"], arm)
        tables = [*before["tables"], *arm["tables"]]
        # An arm that is not asked for a budget now keeps what was said of it before.
        told = before if arm.get("budget_bytes") is None else arm
        budget = {key: told[key] for key in ("budget_bytes", "budget_note") if key in told}
        arms[arm["label"]] = {**arm, **budget, "tables": list(dict.fromkeys(tables))}
    cells = list(dict.fromkeys((*known["cells"], *asked["cells"])))
    baseline = {"baseline": asked["baseline"]} if asked.get("baseline") else {}
    seeds = list(dict.fromkeys((*seeds_of(known), *seeds_of(asked))))
    return {
        **known,
        **baseline,
        **({"seeds": seeds} if len(seeds) > 1 else {}),
        SUITES: {**(known.get(SUITES) or {}), **(asked.get(SUITES) or {})},
        "arms": list(arms.values()),
        "cells": cells,
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
