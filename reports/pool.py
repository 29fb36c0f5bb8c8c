"""Pooling of campaigns: several that differ in their seeds only are read as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.cells import Stored
from harness.store.manifest import SHARED, has_known_world, seeds_of, shared
from harness.store.store import Store

ITS_OWN = ("seed", "seeds", "cells", "baseline", "known_world")
"""Manifest keys that may differ between campaigns of one table. Whether the world is known follows from the backbone,
and older manifests lack it."""


class Snapshot(Store):
    """A campaign's folder in its current state: every cell and the manifest are read once and cached."""

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return super().manifest()

    @cached_property
    def _cells(self) -> list[Stored]:
        return list(super().cells())

    def manifest(self) -> dict[str, Any]:
        return self._manifest

    def cells(self) -> Iterator[Stored]:
        return iter(self._cells)


def opened(folders: Sequence[Path]) -> list[Snapshot]:
    """Return the campaigns of one table.

    Raises
    ------
    StoreError
        Where two campaigns differ in more than their seeds (the message names the first difference), or share a seed
        or a rollout.
    """
    stores = [Snapshot(folder) for folder in folders]
    first, *rest = stores
    asked = first.manifest()["asked"]
    seeds, cells = dict.fromkeys(seeds_of(asked), first), dict.fromkeys(asked["cells"], first)
    for store in rest:
        mine = store.manifest()["asked"]
        for key in (*SHARED, *sorted({*asked, *mine} - set(SHARED))):
            one, other = (_plain(key, shared(each, key)) for each in (mine, asked))
            if key not in ITS_OWN and one != other:
                raise StoreError(
                    f"{store.folder} does not go into one table with {first.folder}: its {key} "
                    f"{_said(one, other)}; only campaigns that differ in their seed do"
                )
        for seed in seeds_of(mine):
            known = seeds.setdefault(seed, store)
            if known is not store:
                raise StoreError(
                    f"{store.folder} and {known.folder} are both of seed {seed}: no rollout may count twice; give each "
                    "seed once"
                )
        for cell in mine["cells"]:
            known = cells.setdefault(cell, store)
            if known is not store:
                raise StoreError(
                    f"{store.folder} and {known.folder} both have cell {cell}, of a prompt that sets its own seed: no "
                    "rollout may count twice; run the seeds in one folder: horizon run --seeds N"
                )
    if rest and not has_known_world(asked):
        _same_prompts(stores)
    return stores


def united(stores: Sequence[Store]) -> dict[str, Any]:
    """Return the union of the manifests of campaigns of one table: the name, and the request."""
    manifests = [store.manifest() for store in stores]
    asked = dict(manifests[0]["asked"])
    seeds = [seed for manifest in manifests for seed in seeds_of(manifest["asked"])]
    if len(seeds) > 1:
        asked["seed"] = seeds
        asked["cells"] = [cell for manifest in manifests for cell in manifest["asked"]["cells"]]
    asked["baseline"] = next((m["asked"]["baseline"] for m in manifests if m["asked"].get("baseline")), None)
    return {**manifests[0], "name": " + ".join(str(manifest["name"]) for manifest in manifests), "asked": asked}


def _same_prompts(stores: Sequence[Store]) -> None:
    """Raise StoreError for campaigns each of which has prompts that the other one lacks."""
    first, *rest = (
        {row["script"][0][1] for cell in store.cells() for row in cell.about["task"]["rows"]} for store in stores
    )
    for store, prompts in zip(stores[1:], rest, strict=True):
        mine, theirs = sorted(prompts - first), sorted(first - prompts)
        if mine and theirs:
            raise StoreError(
                f"{store.folder} does not go into one table with {stores[0].folder}: its prompts differ, the first is "
                f"{_short(mine[0])}, not {_short(theirs[0])}; only campaigns that differ in their seed do"
            )


def _plain(key: str, value: Any) -> Any:
    """Return a manifest value in a comparable form: arms by label, with the digest of their parameters."""
    if key != "arms" or value is None:
        return value
    return {arm["label"]: [arm["knobs"], arm["tables"], (arm.get("weights") or {}).get("digest")] for arm in value}


def _said(one: Any, other: Any) -> str:
    """Return the difference of two values in words; for mappings, that of the first key that differs."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        missing = [key for key in other if key not in one]
        more = [key for key in one if key not in other]
        if missing or more:
            return f"lack {missing[0]}" if missing else f"have {more[0]} besides"
        key = next(key for key in one if one[key] != other[key])
        return f"differ in {key}: {_short(one[key])}, not {_short(other[key])}"
    return f"is {_short(one)}, not {_short(other)}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
