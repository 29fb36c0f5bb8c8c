"""Modules that have moved: their old names continue to work, because plug-ins import them.

`import harness.frames` imports the module `harness.memory.frames` itself, with a DeprecationWarning.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any

MOVED = {
    "harness.backbone.adapters": "harness.backbone.published.lora",
    "harness.backbone.artifacts": "harness.backbone.published.artifacts",
    "harness.backbone.attention": "harness.backbone.kernels.attention",
    "harness.backbone.compilation": "harness.backbone.kept",
    "harness.backbone.names": "harness.backbone.checkpoints.names",
    "harness.backbone.passes": "harness.rollout.passes",
    "harness.backbone.pins": "harness.backbone.published.pins",
    "harness.backbone.shards": "harness.backbone.checkpoints.shards",
    "harness.backbone.text": "harness.backbone.published.text",
    "harness.backbone.vae": "harness.backbone.published.vae",
    "harness.budget": "harness.memory.budget",
    "harness.children": "harness.engines.children",
    "harness.claims": "harness.store.claims",
    "harness.cli.checks": "harness.cli.console.checks",
    "harness.cli.failures": "harness.cli.console.failures",
    "harness.cli.terminal": "harness.cli.console.terminal",
    "harness.cli.ticker": "harness.cli.console.ticker",
    "harness.counting": "harness.measure.counting",
    "harness.entries": "harness.memory.entries",
    "harness.environment": "harness.provenance.environment",
    "harness.estimate": "harness.engines.estimate",
    "harness.executor": "harness.engines.inline",
    "harness.flight": "harness.engines.cell_run",
    "harness.frames": "harness.memory.frames",
    "harness.invariants": "harness.verify.invariants",
    "harness.knobs": "harness.memory.knobs",
    "harness.lifeline": "harness.engines.lifeline",
    "harness.manifest": "harness.store.manifest",
    "harness.measuring": "harness.engines.isolated",
    "harness.meter": "harness.measure.meter",
    "harness.noise": "harness.rollout.noise",
    "harness.options": "harness.campaign.options",
    "harness.outcome": "harness.engines.outcome",
    "harness.pictures": "harness.store.pictures",
    "harness.pocket.examination": "harness.pocket.training.probe_data",
    "harness.pocket.judge": "harness.pocket.readout",
    "harness.pocket.lessons": "harness.pocket.training.clips",
    "harness.pocket.probe_data": "harness.pocket.training.probe_data",
    "harness.pocket.probe_training": "harness.pocket.training.probe_training",
    "harness.pocket.schedule": "harness.pocket.training.schedule",
    "harness.pocket.school": "harness.pocket.recipe",
    "harness.pocket.stages": "harness.pocket.training.schedule",
    "harness.pocket.train": "harness.pocket.recipe",
    "harness.pocket.train_probe": "harness.pocket.training.probe_training",
    "harness.pocket.training_clips": "harness.pocket.training.clips",
    "harness.records": "harness.store.records",
    "harness.request": "harness.rollout.request",
    "harness.room": "harness.campaign.preflight",
    "harness.rounds": "harness.gate.rounds",
    "harness.sample": "harness.rollout.sample",
    "harness.screening": "harness.campaign.film_list",
    "harness.script": "harness.rollout.script",
    "harness.staleness": "harness.provenance.staleness",
    "harness.state": "harness.rollout.state",
    "harness.status": "harness.campaign.status",
    "harness.switches": "harness.rollout.switch_meter",
    "harness.task_rollout": "harness.rollout.task_rollout",
    "harness.training.learner": "harness.training.trainer",
    "harness.training.played": "harness.training.rollout_clips",
    "harness.training.school": "harness.training.recipe",
    "harness.training.stages": "harness.training.schedule",
    "harness.training.study": "harness.training.loop",
    "harness.training.teacher": "harness.training.teacher_forcing",
    "harness.trees": "harness.gate.checkouts",
    "harness.turns": "harness.gate.interleave",
    "harness.video": "harness.films.writer",
    "harness.workbench": "harness.verify.bench",
    "harness.workers": "harness.engines.processes",
    "harness.cli.campaign": "harness.cli.runs.campaign",
    "harness.cli.dry_run": "harness.cli.runs.dry_run",
    "harness.cli.status": "harness.cli.runs.status",
    "reports.columns": "reports.sheets.columns",
    "reports.cost": "reports.sheets.cost",
    "reports.quality": "reports.sheets.quality",
    "reports.sheet": "reports.sheets.sheet",
    "suites.camera": "suites.observers.film",
    "suites.clocked": "suites.cost_suite",
    "suites.filmed": "suites.film_suite",
    "suites.measures": "suites.observers.picture_metrics",
    "suites.picture_metrics": "suites.observers.picture_metrics",
    "suites.observers.sentences": "suites.observers.truth",
    "suites.scenes": "suites.observers.scenes",
    "suites.strip": "suites.observers.filmstrip",
    "suites.viewing": "suites.viewers",
    "suites.viewing.clips": "suites.viewers.vbench.clips",
    "suites.viewing.features": "suites.viewers.perceptual.features",
    "suites.viewing.flow": "suites.viewers.perceptual.flow",
    "suites.viewing.footage": "suites.viewers.video_file",
    "suites.viewing.likeness": "suites.viewers.perceptual.similarity",
    "suites.viewing.networks": "suites.viewers.perceptual.networks",
    "suites.viewing.patches": "suites.viewers.perceptual.lpips_distance",
    "suites.viewing.perceptual": "suites.viewers.perceptual.run",
    "suites.viewing.vbench": "suites.viewers.vbench.run",
    "suites.viewing.vbench_dimensions": "suites.viewers.vbench.dimensions",
    "suites.viewing.vbench_runner": "suites.viewers.vbench.runner",
    "suites.viewing.vbench_scores": "suites.viewers.vbench.scores",
    "suites.viewing.weights": "suites.viewers.perceptual.weights",
    "suites.watch": "suites.observers.probe",
}
"""New names of modules by their old names."""


class _Finder(MetaPathFinder, Loader):
    """Finds a module by its old name and loads the one with the new name in its place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} is now {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import by the old name has replaced the module's spec.
        if module.__spec__ is not None and module.__spec__.loader is self:
            module.__spec__ = module.__spec__.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module, for `python -m` with its old name."""
        spec = find_spec(MOVED[fullname])
        loader: Any = None if spec is None else spec.loader
        return None if loader is None else loader.get_code(MOVED[fullname])


def install() -> None:
    """Make the old names importable in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # It precedes the usual finder, which would load the modules of a moved package a second time.
        sys.meta_path.insert(0, _Finder())
