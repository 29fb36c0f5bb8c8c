"""Whether a finished cell is what today's code would make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import registry
from harness.errors import HorizonError
from harness.memory import Strategy
from harness.memory.knobs import knobs_in_full, spelled
from harness.provenance.code import CellCode, changes, code_of

Codes = Mapping[str, Mapping[str, str]]
"""The digests of modules behind each digest of code, as a folder keeps them."""


def stale(about: Mapping[str, Any], codes: Codes, strategy: Strategy, code: CellCode | None) -> list[str]:
    """Why a cell is not of today's code, a phrase a reason; empty for one that is.

    Parameters
    ----------
    about: what `cell.json` says. codes: the modules behind its digests. strategy, code: today's, for the same cell.
    """
    made = about.get("code")
    if code is None or not made:
        return []
    pairs = [(made["digest"], code.all)]
    # A metric that was installed or removed later says nothing about the others.
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
    """Today's code for cells that are read back, without the campaign that made them."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.known: dict[str, tuple[Strategy, CellCode] | str] = {}

    def stale(self, about: Mapping[str, Any]) -> list[str]:
        """As `stale`; also where the strategy or the suite cannot be found here, since then no code answers for it."""
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
    """Several reasons in one phrase; the rest of many is counted."""
    unique = list(dict.fromkeys(reasons))
    more = [f"{len(unique) - most} more"] if len(unique) > most else []
    return ", ".join([*unique[:most], *more])
