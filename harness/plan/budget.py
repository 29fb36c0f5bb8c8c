"""All strategies of a campaign at the same bytes, so that a policy is not confounded with its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import CampaignError, KnobError

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.memory.strategy import Strategy
from harness.memory.budget import META, dense_bytes, off_budget

USUAL_WINDOW = 12
"""Latent frames of the dense window whose bytes are the budget of a campaign that asks for no other."""


def budget_bytes(backbone: Backbone, window: int) -> int | None:
    """Return the bytes that all strategies of a campaign get: those of a dense window; None for a window of 0.

    Raises
    ------
    CampaignError: for a window without a past, or longer than the backbone's trained range. The usual one, which nobody
        asked for, becomes as long as that range.
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
    """Ask a strategy what it is at a budget.

    Returns
    -------
    The strategy at these bytes, and a clause that says what it holds instead of them and why, if it does; or None, and
    the reason why it cannot be had.
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
        # A third party's may raise anything.
        return None, f"its at_budget raised {type(error).__name__}: {error}"
