"""A campaign expanded to arms and cells."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import registry
from harness.backbone.presets import Backbone
from harness.campaign.campaign import EQUAL, PUBLISHED, Campaign
from harness.campaign.options import check_grid
from harness.errors import CampaignError
from harness.limits import LARGEST_ROLLOUT_SEED
from harness.memory import Strategy, Weights
from harness.memory.knobs import changed_fields, knobs_set, typed
from harness.plan.budget import at_equal_budget, budget_bytes
from harness.provenance.code import CellCode, code_of
from harness.provenance.environment import environment, weights_hash
from harness.rollout.request import beyond_training
from harness.store.manifest import content_id
from harness.suite import CostSuite, Suite, Task


@dataclass(frozen=True)
class Arm:
    """One strategy with its knobs, and the tables of a report in which it stands."""

    name: str
    strategy: Strategy
    tables: tuple[str, ...]
    weights: Weights | None = None
    """Where parameters of its own come from, if it has any."""
    budget_bytes: int | None = None
    """What it was asked to hold in the table of the equal budget; None where it was not asked."""
    budget_note: str | None = None
    """Of an arm in that table: what it holds instead, and why. Of an arm asked for and not in it: why it is not."""

    @property
    def label(self) -> str:
        knobs = typed(self.strategy)
        name = f"{self.name}.{knobs}" if knobs else self.name
        # Whoever reads a table must not take it for what the paper trained.
        return name if self.weights is None or self.weights.trained else f"{name} ({self.weights.about})"

    def asked(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "label": self.label,
            "strategy": self.name,
            "knobs": self.strategy.knobs(),
            "tables": list(self.tables),
            "weights": None if self.weights is None else asdict(self.weights),
            "budget_bytes": self.budget_bytes,
            "budget_note": self.budget_note,
        }


@dataclass(frozen=True)
class Cell:
    """One task of one suite under one arm.

    id: a hash of what was asked, the same for whatever code answers. skip: why it is not run, if it is not. code: what
    computes it today.
    """

    id: str
    arm: Arm
    suite: Suite
    task: Task
    skip: str | None = None
    code: CellCode | None = None


def arms(campaign: Campaign, backbone: Backbone) -> list[Arm]:
    """Every strategy with every combination of its knobs, as published and at the equal budget; each only once."""
    names = campaign.strategies or tuple(registry.found("strategies"))
    for name in campaign.knobs:
        if name not in {text.partition(".")[0] for text in names}:
            raise CampaignError(f"knobs.{name}: that strategy is not in this campaign; it has {', '.join(names)}")
    budget = budget_bytes(backbone, campaign.equal_budget)
    check_grid(campaign.knobs, names)
    found: dict[tuple[str, str], Arm] = {}
    for text in names:
        name, given = registry.parse_knobs(text)
        # A knob that an arm names itself keeps its value: the grid goes through the others.
        grid = {knob: value for knob, value in campaign.knobs.get(name, {}).items() if knob not in given}
        # A list is a grid; a list in it is one value.
        lists = [value if isinstance(value, list) else [value] for value in grid.values()]
        choices = [[tuple(each) if isinstance(each, list) else each for each in values] for values in lists]
        for values in itertools.product(*choices):
            made = registry.strategy(name, **{**given, **dict(zip(grid, values, strict=True))})
            _add(found, backbone, name, made, PUBLISHED)
            if budget is not None:
                fitted, note = at_equal_budget(made, backbone, budget)
                if fitted is not None:
                    _add(found, backbone, name, fitted, EQUAL)
                # Where it cannot be had at these bytes, the arm as it was asked for says why.
                key = (name, repr(fitted or made))
                found[key] = replace(found[key], budget_bytes=budget, budget_note=note)
    return list(found.values())


def cells(campaign: Campaign, backbone: Backbone) -> list[Cell]:
    """All cells in the order in which they run: seed by seed and task by task, so that strategies can be compared
    early; then those that measure what it costs, repeat by repeat, in each of which suites and arms come in an order by
    chance: then what the machine does meanwhile falls on all of them alike."""
    suites: dict[str, Suite] = {name: registry.load("suites", name)() for name in campaign.suites}
    took = [suite.take(Path(campaign.prompts)) for suite in suites.values()] if campaign.prompts is not None else [True]
    if not any(took):
        raise CampaignError(f"no suite of {', '.join(suites)} takes prompts of yours; leave --prompts out")
    for name, suite in suites.items():
        if campaign.tier not in suite.tiers:
            raise CampaignError(f"suite {name} has no tier {campaign.tier!r}; allowed: {', '.join(suite.tiers)}")
        remedy = suite.remedy(backbone)
        if remedy:
            raise CampaignError(f"suite {name} cannot run on {backbone.name}: it {remedy}")
    weights, chosen = weights_hash(backbone), arms(campaign, backbone)
    codes = {name: [code_of(arm.strategy, suite, backbone.name) for arm in chosen] for name, suite in suites.items()}
    # By id: a prompt that says its own seed has the same rollout under every seed of the campaign.
    found: dict[str, Cell] = {}
    first, *others = campaign.every_seed()
    # Of a suite of cost the seed counts repeats, of which it has its own number.
    seeded = [suite for suite in suites.values() if not isinstance(suite, CostSuite)]
    rounds = [(first, suite) for suite in suites.values()] + [(seed, suite) for seed in others for suite in seeded]
    for seed, suite in rounds:
        tasks = suite.tasks(backbone, campaign.tier, seed)
        if not tasks:
            raise CampaignError(
                f"none of {campaign.prompts} fits suite {suite.name}: drift and vbench_long take prompts of one scene, "
                "interactive those of several; give --suite, or another file"
            )
        for row in (row for task in tasks for row in task.rows):
            if not 0 <= row.seed <= LARGEST_ROLLOUT_SEED:
                raise CampaignError(
                    f"suite {suite.name} gives a rollout the seed {row.seed}; allowed: 0 to {LARGEST_ROLLOUT_SEED}"
                )
        for task in tasks:
            for arm, code in zip(chosen, codes[suite.name], strict=True):
                for part, skip in _parts(arm, task, backbone):
                    what = {
                        "backbone": backbone.name,
                        "weights": weights,
                        "dtype": str(backbone.model.dtype),
                        "strategy": arm.name,
                        "knobs": knobs_set(arm.strategy),
                        "suite": [suite.name, suite.version],
                        "task": changed_fields(part),
                    }
                    if arm.weights is not None:
                        what["own weights"] = arm.weights.digest
                    name = content_id(what)
                    found.setdefault(name, Cell(name, arm, suite, part, skip, code))
    quality, cost = (
        [cell for cell in found.values() if isinstance(cell.suite, CostSuite) == which] for which in (False, True)
    )
    random.Random(first).shuffle(cost)
    return [*quality, *sorted(cost, key=lambda cell: cell.task.rows[0].seed)]


def absent(planned: Sequence[Cell]) -> list[str]:
    """A line for each arm that was asked for the equal budget and has no part in that table, with the reason."""
    arms = {cell.arm.label: cell.arm for cell in planned if cell.arm.budget_note and EQUAL not in cell.arm.tables}
    return [f"{label} is not at the equal budget: {arm.budget_note}" for label, arm in arms.items()]


def _parts(arm: Arm, task: Task, backbone: Backbone) -> Sequence[tuple[Task, str | None]]:
    """A task, or for an unbounded memory its beginning, and the rest as skipped with the reason."""
    limit, reason = backbone.trained_frames, beyond_training(backbone, arm.name, arm.strategy, task.frames)
    if reason is None:
        return [(task, None)]
    rows = tuple(replace(row, script=tuple(part for part in row.script if part[0] < limit)) for row in task.rows)
    prefix = replace(task, frames=limit, rows=rows)
    # A scenario that is cut short in the middle of what it is about says nothing.
    whole = all(len(new.script) == len(old.script) for new, old in zip(rows, task.rows, strict=True))
    return [*([(prefix, None)] if whole else []), (task, reason)]


def _add(found: dict[tuple[str, str], Arm], backbone: Backbone, name: str, strategy: Strategy, table: str) -> None:
    key = (name, repr(strategy))
    known = found.get(key)
    if known is not None:
        found[key] = replace(known, tables=tuple(dict.fromkeys((*known.tables, table))))
        return
    found[key] = Arm(name, strategy, (table,), strategy.weights(backbone))


def manifest(campaign: Campaign, backbone: Backbone, planned: Sequence[Cell], name: str) -> dict[str, Any]:
    """What a campaign's folder says of it: what was asked for, as it was understood, and on what it runs."""
    arms = list({id(cell.arm): cell.arm for cell in planned}.values())
    return {
        "name": name,
        "asked": {
            "backbone": backbone.name,
            "known_world": backbone.world is not None,
            "weights": weights_hash(backbone),
            "dtype": str(backbone.model.dtype).removeprefix("torch."),
            "tier": campaign.tier,
            "seed": campaign.every_seed()[0],
            **({"seeds": list(campaign.every_seed())} if len(campaign.every_seed()) > 1 else {}),
            "suite_versions": {cell.suite.name: cell.suite.version for cell in planned},
            "arms": [arm.asked() for arm in arms],
            "cells": [cell.id for cell in planned],
            **({"baseline": campaign.baseline} if campaign.baseline else {}),
        },
        "environment": environment(backbone),
        "plan": {
            cell.id: [cell.arm.label, cell.suite.name, cell.task.scenario, cell.task.frames, len(cell.task.rows)]
            for cell in planned
        },
        "codes": {key: modules for code in _codes(planned) for key, modules in code.tables().items()},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _codes(planned: Sequence[Cell]) -> list[CellCode]:
    """The different codes of all cells."""
    return list({id(cell.code): cell.code for cell in planned if cell.code is not None}.values())
