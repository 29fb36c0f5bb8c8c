"""The manifest of a campaign's folder: the request, its runs, their environments and the code.

format         version of the folder's format
name           name of the campaign
asked          backbone, whether its world is known, weights, dtype, tier, seed (seeds, where there are several), suites
               with their versions, arms, ids of cells
plan           by id of a cell: its arm, suite, scenario, latent frames and rollouts
runs           in order of time: when each began, and the digest of its environment
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
"""Version of the folder's format; folders of other versions are refused."""
IMPORTED = "imported"
"""The strategy of every arm of films made elsewhere, and the backbone of a campaign that has no other arms."""
SHARED, SUITES = ("backbone", "weights", "dtype", "compile", "tier", "seed"), "suite_versions"
"""Keys of the values that all cells of a folder share, and the key of the versions of suites, which they share too."""
UNSAID = {"compile": "off"}
"""Values of keys that a manifest leaves out."""


def content_id(what: Any) -> str:
    """Return sixteen hexadecimal digits that identify a nested value of plain data: a prefix of its SHA-256."""
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shared(asked: Mapping[str, Any], key: str) -> Any:
    """Return a value that all cells of a folder share, from `asked` of its manifest; None where it is not known."""
    return asked.get(key, UNSAID.get(key))


def check_same(folder: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise StoreError, which names the first difference, unless a folder can hold another campaign's cells too.

    Parameters
    ----------
    folder
        The folder, for the message.
    known
        `asked` of the folder's manifest.
    asked
        `asked` of the other manifest.
    """

    def refuse(what: str, there: Any, here: Any) -> None:
        raise StoreError(
            f"{folder} holds another campaign: its {what} is {_short(there)}, not {_short(here)}; give --out another "
            "folder, or move this one away"
        )

    for key in SHARED:
        there, here = (shared(each, key) for each in (known, asked))
        if there != here:
            refuse(key, there, here)
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
        # Suites may be added; the version of a present suite must be the same.
        if versions.get(name, version) != version:
            refuse(f"version of suite {name}", version, versions[name])


def seeds_of(asked: Mapping[str, Any]) -> list[Any]:
    """Return the seeds of a campaign, from `asked` of a manifest; the first of several is also its `seed`."""
    return list(asked.get("seeds") or [asked.get("seed")])


def has_known_world(asked: Mapping[str, Any]) -> bool:
    """Return whether rollouts of a campaign are compared with the truth of a known world.

    Manifests that were written before backbones declared a world lack the key; their only known world was the pocket.
    """
    return bool(asked.get("known_world", asked.get("backbone") == "pocket"))


def first(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a folder with one run, from the contents that `Store.begin` is given."""
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
    """Return the union of two manifests of one campaign; values of `known` come first."""
    whole = {**new, **known, "asked": _united(known["asked"], new["asked"])}
    whole |= {name: {**known[name], **new[name]} for name in ("plan", "environments", "codes")}
    # The same command, repeated on the same machine, continues the same run.
    runs = [*known["runs"], *new["runs"]]
    if whole == {**known, "runs": whole["runs"]} and new["runs"][-1]["environment"] == known["runs"][-1]["environment"]:
        runs = known["runs"]
    whole["runs"] = [run for number, run in enumerate(runs) if run not in runs[:number]]
    return whole


def _united(known: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of two requests: the earlier one and the present one."""
    arms = {arm["label"]: arm for arm in known["arms"]}
    for arm in asked["arms"]:
        before = arms.get(arm["label"], arm)
        tables = [*before["tables"], *arm["tables"]]
        # An arm without a budget in the present request keeps its earlier budget and note.
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
