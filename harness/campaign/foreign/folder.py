"""A campaign's folder while films made elsewhere come in: their cells, and the rollouts that they are paired with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import registry
from harness.campaign.campaign import PUBLISHED
from harness.campaign.film_list import WINDOWS
from harness.campaign.foreign.measured import Job, Measured
from harness.campaign.foreign.prompts import FilmPrompt
from harness.memory import Boundary
from harness.provenance.environment import machine_facts
from harness.store.manifest import IMPORTED, content_id
from harness.store.store import MANIFEST, Store

NOTHING_MADE = {"gpu": None, "device": "cpu", "attention": "none", "dtype": "none", "compile": "off"}
"""Of a machine that read films and made none."""


@dataclass(frozen=True)
class Peer:
    """A rollout of another arm."""

    suite: str
    scenario: str
    texts: tuple[str, ...]
    script: tuple[tuple[int, str], ...]
    boundaries: tuple[Boundary, ...]
    seed: int
    frames: int
    latent: float


def peers_in(store: Store) -> list[Peer]:
    """Return the rollouts of all arms whose films Horizon made, each once, in the order of their seeds."""
    found: dict[Peer, None] = {}
    for cell in store.cells():
        about, task = cell.about, cell.about["task"]
        if about["strategy"] == IMPORTED or not about.get("files"):
            continue
        for row in task["rows"]:
            script = tuple((start, text) for start, text in row["script"])
            texts, latent = tuple(text for _, text in script), about["seconds_per_latent_frame"]
            entered = tuple(task.get("boundaries", ["smooth"]))
            peer = Peer(about["suite"], task["scenario"], texts, script, entered, row["seed"], task["frames"], latent)
            found[peer] = None
    return sorted(found, key=lambda peer: (peer.suite, peer.seed))


class Folder:
    """The campaign's folder while films come in as one arm."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name, self.knobs = store, name, {"films": name}
        self.plan: dict[str, list[Any]] = {}
        self.versions: dict[str, str] = {}
        self.turns: dict[tuple[str, ...], int] = {}
        self.when = datetime.now(UTC).isoformat(timespec="seconds")

    def add(self, prompt: FilmPrompt, found: Measured, job: Job, peers: Sequence[Peer]) -> bool:
        """Put a film in, a cell for each suite. Return whether another arm has a rollout of its prompt."""
        texts = tuple(text for _, text in found.script)
        turn = self.turns[texts] = self.turns.get(texts, -1) + 1
        paired = False
        for suite, scenario in found.scenarios.items():
            alike = [
                peer
                for peer in peers
                if (peer.suite, peer.scenario, peer.texts, peer.frames) == (suite, scenario, texts, found.latents)
                and all(abs(a - b) <= 3 for (a, _), (b, _) in zip(peer.script, found.script, strict=True))
                and prompt.seed in (None, peer.seed)
            ]
            # Several films of one prompt are paired with its seeds one by one.
            place = turn if prompt.seed is None else 0
            peer = alike[place] if place < len(alike) else None
            paired = paired or peer is not None
            script, boundaries = (peer.script, peer.boundaries) if peer else (found.script, found.boundaries)
            seed = peer.seed if peer else turn if prompt.seed is None else prompt.seed
            row = {"seed": seed, "script": [list(part) for part in script], "vbench": prompt.vbench}
            task = {"scenario": scenario, "frames": found.latents, "given": 0, "forced": False}
            self._store(found, job, suite, {**task, "boundaries": list(boundaries), "rows": [row]})
        return paired

    def _store(self, found: Measured, job: Job, suite: str, task: dict[str, Any]) -> None:
        made = registry.load("suites", suite)()
        what = {IMPORTED: self.knobs, "file": found.sha256, "suite": [suite, made.version], "task": task}
        cell, first = content_id(what), not self.plan
        self.plan[cell] = [self.name, suite, task["scenario"], found.latents, 1]
        self.versions[suite] = made.version
        if first or not self.store.environment:
            self.list_cells()
        rate = float(found.source.rate)
        about = {
            "status": "ok", "reason": "", "cost": {}, "backbone": IMPORTED, "strategy": IMPORTED, "arm": self.name,
            "knobs": self.knobs, "knobs_set": self.knobs, "knobs_in_full": self.knobs, "code": None, "weights": None,
            "suite": suite, "suite_version": made.version, "skipped_metrics": dict(made.skipped()),
            "seconds_per_latent_frame": job.latent, "pictures_per_second": rate,
            "pictures_per_latent": max(1, round(rate * job.latent)), "task": task,
            "chunk": [job.chunk, job.chunk] if job.chunk else None, IMPORTED: _facts(found, job),
        }  # fmt: skip
        windows = job.workspace / WINDOWS
        windows.parent.mkdir(parents=True, exist_ok=True)
        windows.write_text(json.dumps(list(found.ends)), encoding="utf-8")
        files = {f"0{found.file.suffix.lower()}": found.file, WINDOWS: windows}
        with self.store.claim(cell) as mine:
            if mine and self.store.find(cell) is None:
                self.store.finish(cell, about, found.samples, found.strip, files)

    def list_cells(self) -> None:
        """Write the cells so far into the manifest; nothing where there are none."""
        if not self.plan:
            return
        known = self.store.manifest() if (self.store.folder / MANIFEST).exists() else None
        mine = {"backbone": IMPORTED, "known_world": False, "weights": None, "dtype": None, "tier": IMPORTED, "seed": 0}
        base = mine if known is None else {key: value for key, value in known["asked"].items() if key != "baseline"}
        arm = {
            "label": self.name, "strategy": IMPORTED, "knobs": self.knobs, "tables": [PUBLISHED], "weights": None,
            "budget_bytes": None, "budget_note": None,
        }  # fmt: skip
        asked = {**base, "suite_versions": self.versions, "arms": [arm], "cells": list(self.plan)}
        self.store.begin(
            {
                "name": self.store.folder.name if known is None else known["name"],
                "asked": asked,
                "environment": {**machine_facts(), **NOTHING_MADE},
                "plan": self.plan,
                "codes": {},
                "when": self.when,
            }
        )


def _facts(found: Measured, job: Job) -> dict[str, Any]:
    source = found.source
    return {
        "file": job.path.name, "sha256": found.sha256, "bytes": _bytes(job.path), "pictures": found.pictures,
        "stored_pictures": source.stored, "rate": float(source.rate), "height": source.height, "width": source.width,
        "as_it_is": source.plain, "turned": source.turned, "transparent": source.transparent,
        "sampled_by_time": not source.steady, **source.facts,
    }  # fmt: skip


def _bytes(path: Path) -> int:
    return (
        sum(each.stat().st_size for each in path.iterdir() if each.is_file()) if path.is_dir() else path.stat().st_size
    )
