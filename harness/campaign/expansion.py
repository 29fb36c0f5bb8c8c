"""The expansion of a campaign to arms and cells."""

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
from harness.store.manifest import UNSAID, content_id
from harness.suite import CostSuite, Suite, Task

USUAL = ("drift", "interactive", "distance")
"""Suites of a campaign that names none."""


@dataclass(frozen=True)
class Arm:
    """One strategy with its knobs, and the tables of a report in which it appears."""

    name: str
    strategy: Strategy
    tables: tuple[str, ...]
    weights: Weights | None = None
    """Source of the strategy's own parameters, if it has any."""
    budget_bytes: int | None = None
    """Requested bytes in the table of the equal budget; None where no equal budget is requested."""
    budget_note: str | None = None
    """For an arm in that table: how many bytes it holds instead, and why. For another arm: why it is not in it."""

    @property
    def resized(self) -> bool:
        """Whether it is in the table of the equal budget only."""
        return self.tables == (EQUAL,)

    @property
    def label(self) -> str:
        knobs = typed(self.strategy)
        name = f"{self.name}.{knobs}" if knobs else self.name
        # A reader of a table must not mistake untrained weights for those of the paper.
        return name if self.weights is None or self.weights.trained else f"{name} ({self.weights.about})"

    def asked(self) -> dict[str, Any]:
        """Return the entry of the arm in a manifest."""
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

    Parameters
    ----------
    id
        A hash of the request, which does not depend on the code that computes it.
    arm, suite, task
        The strategy, the suite and the task.
    skip
        The reason why it is not run; None for a cell that is run.
    code
        The present code that computes it.
    """

    id: str
    arm: Arm
    suite: Suite
    task: Task
    skip: str | None = None
    code: CellCode | None = None


def arms(campaign: Campaign, backbone: Backbone) -> list[Arm]:
    """Return every strategy with every combination of its knobs, as published and at the equal budget.

    Equal strategies are one arm. Raises CampaignError for invalid knobs or an invalid budget, and the errors of the
    registry.
    """
    names = campaign.strategies or tuple(registry.found("strategies"))
    for name in campaign.knobs:
        if name not in {text.partition(".")[0] for text in names}:
            raise CampaignError(f"knobs.{name}: that strategy is not in this campaign; it has {', '.join(names)}")
    budget = budget_bytes(backbone, campaign.equal_budget)
    check_grid(campaign.knobs, names)
    found: dict[tuple[str, str], Arm] = {}
    for text in names:
        name, given = registry.parse_knobs(text)
        # The grid covers only the knobs that the entry does not set itself.
        grid = {knob: value for knob, value in campaign.knobs.get(name, {}).items() if knob not in given}
        # A list is a list of values; a list within it is one value.
        lists = [value if isinstance(value, list) else [value] for value in grid.values()]
        choices = [[tuple(each) if isinstance(each, list) else each for each in values] for values in lists]
        for values in itertools.product(*choices):
            made = registry.strategy(name, **{**given, **dict(zip(grid, values, strict=True))})
            _add(found, backbone, name, made, PUBLISHED)
            if budget is not None:
                fitted, note = at_equal_budget(made, backbone, budget)
                if fitted is not None:
                    _add(found, backbone, name, fitted, EQUAL)
                # Without a configuration at this budget, the arm as published carries the reason.
                key = (name, repr(fitted or made))
                found[key] = replace(found[key], budget_bytes=budget, budget_note=note)
    return list(found.values())


def suites_of(campaign: Campaign, backbone: Backbone) -> tuple[str, ...]:
    """Return the names of a campaign's suites: those that it names, else the usual ones for the backbone.

    `fairness` is among them where the backbone's world is known: without it, tables could not mark what a strategy
    loses to the model.
    """
    return campaign.suites or (*USUAL, *(("fairness",) if backbone.world is not None else ()))


def cells(campaign: Campaign, backbone: Backbone) -> list[Cell]:
    """Return all cells in the order in which they run.

    Cells of quality suites come first, seed by seed and task by task, and in a task the arms as published before those
    at the equal budget, so that strategies can be compared early. Cells of cost suites follow, repeat by repeat; within
    a repeat, suites and arms are in random order, so that disturbances of the machine affect all of them alike.

    A backbone with shapes only (device "meta") gives the same cells with ids of their own, for planning.

    Raises CampaignError for a tier, prompts or a seed that a suite does not allow, or a suite that cannot run on the
    backbone.
    """
    on_paper = backbone.model.device.type == "meta"
    suites: dict[str, Suite] = {name: registry.load("suites", name)() for name in suites_of(campaign, backbone)}
    took = [suite.take(Path(campaign.prompts)) for suite in suites.values()] if campaign.prompts is not None else [True]
    if not any(took):
        raise CampaignError(
            f"no suite of this campaign takes a file of prompts ({', '.join(suites)}); leave --prompts out"
        )
    for name, suite in suites.items():
        if campaign.tier not in suite.tiers:
            raise CampaignError(f"suite {name} has no tier {campaign.tier!r}; allowed: {', '.join(suite.tiers)}")
        remedy = None if on_paper else suite.remedy(backbone)
        if remedy:
            raise CampaignError(f"suite {name} cannot run on {backbone.name}: it {remedy}")
    weights = "" if on_paper else weights_hash(backbone)
    chosen = sorted(arms(campaign, backbone), key=lambda arm: arm.resized)
    codes = {name: [code_of(arm.strategy, suite, backbone.name) for arm in chosen] for name, suite in suites.items()}
    # By id, since a prompt with its own seed has the same rollout under every seed of the campaign.
    found: dict[str, Cell] = {}
    first, *others = campaign.every_seed()
    # Cost suites use seeds to number their repeats, and define how many there are.
    seeded = [suite for suite in suites.values() if not isinstance(suite, CostSuite)]
    rounds = [(first, suite) for suite in suites.values()] + [(seed, suite) for seed in others for suite in seeded]
    for seed, suite in rounds:
        tasks = suite.tasks(backbone, campaign.tier, seed)
        if not tasks:
            raise CampaignError(
                f"none of {campaign.prompts} fits suite {suite.name}: drift and vbench_long take prompts of one scene, "
                "interactive those of several; give --suite, or another file"
            )
        _check_seeds(suite, tasks)
        for task in tasks:
            for arm, code in zip(chosen, codes[suite.name], strict=True):
                if arm.resized and not suite.at_equal_budget(task, campaign.tier):
                    continue
                for part, skip in _parts(arm, task, backbone):
                    what = {
                        "backbone": backbone.name,
                        "weights": weights,
                        "dtype": f"torch.{backbone.dtype}",
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


def _check_seeds(suite: Suite, tasks: Sequence[Task]) -> None:
    for row in (row for task in tasks for row in task.rows):
        if not 0 <= row.seed <= LARGEST_ROLLOUT_SEED:
            raise CampaignError(
                f"suite {suite.name} gives a rollout the seed {row.seed}; allowed: 0 to {LARGEST_ROLLOUT_SEED}"
            )


def absent(planned: Sequence[Cell]) -> list[str]:
    """Return a line, with the reason, for each arm that has no configuration at the requested equal budget."""
    arms = {cell.arm.label: cell.arm for cell in planned if cell.arm.budget_note and EQUAL not in cell.arm.tables}
    return [f"{label} is not at the equal budget: {arm.budget_note}" for label, arm in arms.items()]


def _parts(arm: Arm, task: Task, backbone: Backbone) -> Sequence[tuple[Task, str | None]]:
    """Return the parts of a task with the reason to skip each, or None.

    That is the task itself, or for an unbounded memory beyond its trained range: the beginning of the task, and the
    whole task as skipped.
    """
    limit, reason = backbone.trained_frames, beyond_training(backbone, arm.name, arm.strategy, task.frames)
    if reason is None:
        return [(task, None)]
    rows = tuple(replace(row, script=tuple(part for part in row.script if part[0] < limit)) for row in task.rows)
    prefix = replace(task, frames=limit, rows=rows)
    # A scenario that loses some of its scenes does not measure its subject any more.
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
    """Return the manifest of a campaign, as `Store.begin` takes it: the resolved request, plan, environment and code.

    Parameters
    ----------
    campaign, backbone
        The campaign and its opened backbone.
    planned
        All of its cells.
    name
        The campaign's name.
    """
    arms = list({id(cell.arm): cell.arm for cell in planned}.values())
    return {
        "name": name,
        "asked": {
            "backbone": backbone.name,
            "known_world": backbone.world is not None,
            "weights": weights_hash(backbone),
            "dtype": backbone.dtype,
            # Left out where nothing is compiled, as in folders that are older than the option.
            **({"compile": backbone.compile} if backbone.compile != UNSAID["compile"] else {}),
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
    """Return the distinct codes of all cells."""
    return list({id(cell.code): cell.code for cell in planned if cell.code is not None}.values())
