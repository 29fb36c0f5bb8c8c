"""Equal budgets: all strategies of a campaign at the same bytes, so that comparisons do not depend on the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import CampaignError, KnobError

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.memory.strategy import Strategy
from harness.memory.budget import META, dense_bytes, off_budget

USUAL_WINDOW = 12
"""Latent frames of the dense window whose bytes are the default budget of a campaign."""


def budget_bytes(backbone: Backbone, window: int) -> int | None:
    """Return the budget of all strategies of a campaign in bytes: those of a dense window.

    Parameters
    ----------
    backbone
        The backbone.
    window
        Latent frames of the dense window, its chunk included. `USUAL_WINDOW` is shortened to the backbone's trained
        range where that is shorter.

    Returns
    -------
    int or None
        Bytes; None for a window of 0.

    Raises
    ------
    CampaignError
        The window is not longer than a chunk, or longer than the backbone's trained range.
    """
    least, most = backbone.chunk + 1, backbone.trained_frames
    if window == 0:
        return None
    if window == USUAL_WINDOW:
        window = min(window, most)
    if not least <= window <= most:
        raise CampaignError(
            f"equal_budget = {window}: a dense window of {backbone.name} has {least} to {most} latent frames, its "
            "chunk included and no more than it was trained for; 0 leaves that table out"
        )
    return dense_bytes(backbone.memory_spec(), window)


def at_equal_budget(strategy: Strategy, backbone: Backbone, budget: int) -> tuple[Strategy | None, str | None]:
    """Configure a strategy for a budget.

    Parameters
    ----------
    strategy
        The strategy as published.
    backbone
        The backbone.
    budget
        Bytes.

    Returns
    -------
    strategy
        The strategy at these bytes; None if there is no such configuration.
    note
        Where there is a strategy: a clause that says how many bytes it holds instead and why, or None. Otherwise the
        reason why there is none.
    """
    spec = strategy.adapt(backbone).memory_spec()
    try:
        found = strategy.at_budget(spec, budget)
        capacity, longest = found.open(replace(spec, device=META)).capacity, backbone.trained_frames
        if capacity is None or capacity + backbone.chunk > longest:
            return None, f"its at_budget gives {found!r}, whose contexts exceed the {longest} latent frames of training"
        return found, off_budget(strategy, found, spec, budget)
    except KnobError as error:
        return None, str(error)
    except Exception as error:
        # The `at_budget` of a plug-in may raise any exception.
        return None, f"its at_budget raised {type(error).__name__}: {error}"
