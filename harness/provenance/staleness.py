"""Staleness of finished cells: whether they were made by other code than the present one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import registry
from harness.errors import HorizonError
from harness.memory import Strategy
from harness.memory.knobs import knobs_in_full, spelled
from harness.provenance.code import CellCode, changes, code_of

Codes = Mapping[str, Mapping[str, str]]
"""The digests of modules of each digest of code, as in a manifest."""


def stale(about: Mapping[str, Any], codes: Codes, strategy: Strategy, code: CellCode | None) -> list[str]:
    """Return the reasons why a cell is not of the present code; an empty list if it is.

    Parameters
    ----------
    about
        The contents of `cell.json`.
    codes
        The modules of its digests of code.
    strategy, code
        The present strategy and code of the same cell.
    """
    made = about.get("code")
    if code is None or not made:
        return []
    pairs = [(made["digest"], code.all)]
    # A metric that was installed or removed later does not make the other metrics stale.
    pairs += [(digest, code.metrics[name]) for name, digest in made["metrics"].items() if name in code.metrics]
    reasons: dict[str, None] = {}
    for before, now in pairs:
        if before != now.digest:
            named = (
                [f"{name} changed" for name in changes(codes.get(before, {}), now.modules)] if before in codes else []
            )
            reasons |= dict.fromkeys(named or ["its code changed"])
    now_knobs = knobs_in_full(strategy)
    for knob, value in about["knobs_in_full"].items():
        if knob in now_knobs and now_knobs[knob] != value:
            told = f"the default of {about['strategy']}.{knob} was {spelled(value)} and is {spelled(now_knobs[knob])}"
            reasons[told] = None
    return list(reasons)


class Today:
    """The present code of cells that are read from a folder, without the campaign that made them."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.known: dict[str, tuple[Strategy, CellCode] | str] = {}

    def stale(self, about: Mapping[str, Any]) -> list[str]:
        """Return the reasons as `stale` does; a strategy or suite that cannot be loaded here is a reason too."""
        if about["status"] != "ok" or not about.get("code"):
            return []
        key = repr((about["strategy"], about["knobs_set"], about["suite"], about["backbone"]))
        if key not in self.known:
            self.known[key] = self._today(about)
        found = self.known[key]
        return [found] if isinstance(found, str) else stale(about, self.codes, *found)

    @staticmethod
    def _today(about: Mapping[str, Any]) -> tuple[Strategy, CellCode] | str:
        try:
            knobs = {name: tuple(x) if isinstance(x, list) else x for name, x in about["knobs_set"].items()}
            made = registry.strategy(about["strategy"], **knobs)
            return made, code_of(made, registry.load("suites", about["suite"])(), about["backbone"])
        except HorizonError as error:
            return f"cannot be compared with today's code: {error}"


def summary(reasons: Sequence[str], most: int = 3) -> str:
    """Return several reasons as one phrase: the first `most`, and the number of the others."""
    unique = list(dict.fromkeys(reasons))
    more = [f"{len(unique) - most} more"] if len(unique) > most else []
    return ", ".join([*unique[:most], *more])
