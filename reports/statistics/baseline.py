"""The arm with which the others of a table are compared: the requested one, or `sliding_window`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import registry
from harness.errors import HorizonError, UnknownNameError, did_you_mean
from reports.arms import Entrant, table_names

BASELINE = "sliding_window"
"""The default baseline."""


@dataclass(frozen=True)
class Baseline:
    """The baseline of a report.

    Parameters
    ----------
    name
        The requested name, or the default.
    arms
        Label of the baseline's arm by table; a table without it is not in it.
    missing
        Why a table has no marks, by table.
    """

    name: str
    arms: Mapping[str, str]
    missing: Mapping[str, str]

    def labels(self) -> set[str]:
        """Return the labels of all arms that are a baseline somewhere."""
        return set(self.arms.values())


def choose(field: Sequence[Entrant], name: str | None = None) -> Baseline:
    """Return the baseline of every table.

    Parameters
    ----------
    field
        The arms of a report.
    name
        A label, a strategy, or NAME.KNOB=VALUE; None for `sliding_window`, which may be absent.

    Raises
    ------
    UnknownNameError
        Where no table has an arm of this name, or several that it could mean.
    """
    arms: dict[str, str] = {}
    called = BASELINE if name is None else name
    unclear: dict[str, list[str]] = {}
    for table in table_names(field):
        within = [entrant for entrant in field if table in entrant.tables]
        found = named(within, called)
        if len(found) == 1:
            arms[table] = found[0].label
        elif found:
            unclear[table] = [entrant.label for entrant in found]
    labels = list(dict.fromkeys(entrant.label for entrant in field))
    if name is not None and not arms:
        if unclear:
            names = ", ".join(next(iter(unclear.values())))
            raise UnknownNameError(f"--baseline {name}: several arms have this name; give one of: {names}")
        raise UnknownNameError(
            f"--baseline {name}: no arm has this name{did_you_mean(name, labels)}; there are: {', '.join(labels)}"
        )
    word = "the baseline" if name else "the default baseline"
    missing = {
        table: (
            f"several arms are {called}: give --baseline one of {', '.join(unclear[table])}"
            if table in unclear
            else f"{called}, {word}, is not among its arms"
        )
        for table in table_names(field)
        if table not in arms
    }
    return Baseline(called, arms, missing)


def named(field: Sequence[Entrant], name: str) -> list[Entrant]:
    """Return the arms that a name may mean: the one with this label, else with these knobs, else all of a strategy."""
    same = [entrant for entrant in field if entrant.label == name]
    if same:
        return same
    strategy, _, knobs = name.partition(".")
    mine = [entrant for entrant in field if entrant.strategy == strategy]
    if not mine or not knobs:
        return mine
    try:
        _, asked = registry.parse_strategy(name)
    except HorizonError:
        return []
    wanted = {key: _plain(value) for key, value in asked.knobs().items()}
    return [each for each in mine if {key: _plain(value) for key, value in each.values.items()} == wanted]


def _plain(value: object) -> object:
    """Return a knob's value in the form of a manifest, where tuples are lists."""
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
