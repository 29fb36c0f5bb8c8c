"""The result of one check, and what several of them mean together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "limited", "broken"]
EXIT_CODES: dict[State, int] = {"ok": 0, "limited": 1, "broken": 2}
"""Exit codes of the command by the worst state, from the best state to the worst."""


@dataclass(frozen=True)
class Check:
    """What a check found.

    Parameters
    ----------
    group, name
        The group of the check, and its name in the group.
    state
        "ok"; "limited" where something does not work that most commands do without; "broken" where nothing works, or
        not what was asked for.
    found
        What was found, in one line.
    advice
        What to do, in one line; empty where all is well.
    facts
        The same facts as values.
    """

    group: str
    name: str
    state: State
    found: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def worst(checks: Iterable[Check]) -> State:
    """Return the worst state of all checks; "ok" where there are none."""
    order = list(EXIT_CODES)
    return max((check.state for check in checks), key=order.index, default="ok")
