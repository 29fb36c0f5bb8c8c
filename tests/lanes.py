"""Parameters of tests, of which a push uses a part, and the nightly lane (`nox -s nightly`) uses all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def pushed(values: Iterable[Any], *few: Any) -> list[Any]:
    """Return the parameters of a test of which only `few` are tried on a push.

    Raises
    ------
    ValueError
        For one of the few that is not among the values.
    """
    found = list(values)
    unknown = [value for value in few if value not in found]
    if unknown:
        raise ValueError(f"{unknown} are not among the parameters")
    return [pytest.param(value, marks=() if value in few else pytest.mark.nightly) for value in found]
