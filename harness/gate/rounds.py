"""Rounds of repeats of one campaign, for one tree or for two in alternation, while there is time for more.

Each round has its own seed: other scenes for quality, further processes for cost. The name of a folder contains the
digest of its code, so that results of different code are never mixed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import files, registry
from harness.campaign.campaign import Campaign
from harness.gate import interleave as turns
from harness.gate.checkouts import OWN, Tree, registered
from harness.store.manifest import content_id
from harness.suite import CostSuite

LATER = ("compile",)
"""Options of campaigns that older checkouts do not know; both sides get them only where they are not the default."""


class Rounds:
    """The rounds of measurements of a gate.

    Parameters
    ----------
    run
        The folder of all rounds.
    trees
        The tree of each side, "base" and "head", or of one side only.
    workers
        Processes for quality.
    threads
        CPU threads of each process.
    tell
        Called with a line before each part of a round.
    """

    def __init__(
        self,
        run: Path,
        trees: Mapping[str, Tree],
        workers: int,
        threads: int,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.run, self.trees, self.workers, self.threads, self.tell = run, trees, workers, threads, tell
        for name in ("quality", "cost", "trees"):
            files.own(run, name)
        self.number = 0
        self.folders: dict[str, list[Path]] = {side: [] for side in trees}
        """Folders of the campaigns that were run, by side."""
        self.rates: dict[bool, tuple[float, float]] = {}
        """Seconds of a round: the fixed part, and the part for each strategy and suite; for quality (False) and cost
        (True)."""

    def go(self, campaign: Campaign) -> None:
        """Measure one round of a campaign."""
        plain = {name for name in LATER if getattr(campaign, name) == Campaign.model_fields[name].default}
        asked = campaign.model_dump(mode="json", exclude={"seeds", *plain}) | {"seed": campaign.seed + self.number}
        names = campaign.suites or ()
        cost = _costly(names)
        parts = {False: [name for name in names if name not in cost], True: cost}
        for costly, suites in parts.items():
            if suites:
                began = time.monotonic()
                fixed = (self._cost if costly else self._quality)({**asked, "suites": suites})
                each = (time.monotonic() - began - fixed) / (len(suites) * _count(campaign))
                self.rates[costly] = fixed, each
        self.number += 1

    def price(self, campaign: Campaign) -> float:
        """Return the expected seconds of a round of this campaign, from the last round."""
        names = campaign.suites or ()
        cost = _costly(names)
        parts = {False: len(names) - len(cost), True: len(cost)}
        rates = {costly: self.rates.get(costly, (0.0, 0.0)) for costly, count in parts.items() if count}
        return sum(fixed + each * parts[costly] * _count(campaign) for costly, (fixed, each) in rates.items())

    def _quality(self, asked: Mapping[str, Any]) -> float:
        words = ("--workers", str(self.workers), "--threads", str(self.threads))
        for side, tree in self.trees.items():
            own = _known(asked, tree)
            if own is None:
                continue
            self.tell(f"round {self.number + 1}: quality, {side}")
            folder = self.run / "quality" / f"{tree.digest}-{content_id(own)}"
            turns.quality(tree, own, folder, words)
            self.folders[side].append(folder)
        return 0.0

    def _cost(self, asked: Mapping[str, Any]) -> float:
        self.tell(f"round {self.number + 1}: cost, {' and '.join(sorted(self.trees))}")
        own = {side: each for side, tree in self.trees.items() if (each := _known(asked, tree)) is not None}
        digests = [self.trees[side].digest for side in sorted(self.trees)]
        folder = self.run / "cost" / "-".join([*digests, content_id(own)])
        # Two processes must not measure on one GPU at the same time.
        together = not str(asked["device"] or "").startswith("cuda")
        for side in own:
            self.folders[side].append(folder / side)
        trees = {side: self.trees[side] for side in own}
        return turns.cost(trees, own, folder, threads=self.threads, together=together)


def only(campaign: Campaign, arms: Iterable[str], suites: Iterable[str]) -> Campaign:
    """Return a campaign that is restricted to the strategies of these arms and to these suites."""
    wanted, some = {arm.partition(" ")[0].partition(".")[0] for arm in arms}, set(suites)
    names = campaign.strategies or tuple(registry.found("strategies"))
    return campaign.model_copy(
        update={
            "strategies": tuple(name for name in names if name.partition(".")[0] in wanted),
            "knobs": {name: knobs for name, knobs in campaign.knobs.items() if name in wanted},
            "suites": tuple(name for name in campaign.suites or () if name in some),
        }
    )


def _known(asked: Mapping[str, Any], tree: Tree) -> dict[str, Any] | None:
    """Return a campaign restricted to the strategies that a tree has; None where it has none of the named ones."""
    if not asked["strategies"]:
        return dict(asked)
    # Other installed packages are the same for every tree.
    others = [name for name, point in registry.found("strategies").items() if point.dist and point.dist.name != OWN]
    there = {*others, *registered(tree, "strategies")}
    names = [text for text in asked["strategies"] if text.partition(".")[0] in there]
    if not names:
        return None
    knobs = {name: each for name, each in (asked.get("knobs") or {}).items() if name in there}
    return {**asked, "strategies": names, "knobs": knobs}


def _costly(suites: Iterable[str]) -> list[str]:
    return [name for name in suites if isinstance(registry.load("suites", name)(), CostSuite)]


def _count(campaign: Campaign) -> int:
    return len(campaign.strategies or registry.found("strategies"))
