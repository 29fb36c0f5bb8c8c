"""What to run: a campaign of strategies, their knobs and suites, expanded to cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest
from harness.campaign.options import backbone_request, computing
from harness.errors import CampaignError, did_you_mean
from harness.files import read_toml
from harness.limits import LARGEST_SEED, MOST_SEEDS
from harness.plan.budget import USUAL_WINDOW
from harness.store.records import told

PUBLISHED, EQUAL = "as published", "equal budget"
"""The two tables of a report: every strategy at its own defaults, and all at the same cached bytes."""


class Campaign(BaseModel):
    """A campaign as asked for, in a TOML file or by options.

    strategies: NAME or NAME.KNOB=VALUE[,KNOB=VALUE]; none = all that are registered. knobs: a value, or a list of
    values to go through, for each knob of a strategy; every combination is an arm. A knob that an arm of `strategies`
    names itself keeps its value there. equal_budget: latent frames of the dense window whose cached bytes every bounded
    strategy also gets, at most the backbone's trained range; 0 = only as published. seed, seeds: 3 seeds are `seed` and
    the two above it; a list says every seed. Their rollouts are of one campaign, and are reported together.
    weights, size ("480x832", height first, in pixels), tiling, offload, container, chunk (in latent frames): of a
    published backbone. prompts: a file of prompts instead of a suite's own. lossless: also keep videos without loss.
    baseline: the arm with which reports compare the others, NAME or NAME.KNOB=VALUE.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = "pocket"
    device: str = "cpu"
    dtype: str | None = None
    strategies: tuple[str, ...] = ()
    knobs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    suites: tuple[str, ...] = Field(("drift", "interactive", "distance"), min_length=1)
    tier: str = "quick"
    seed: int = Field(0, ge=0, le=LARGEST_SEED, strict=True)
    seeds: int | tuple[int, ...] | None = None
    equal_budget: int = Field(USUAL_WINDOW, ge=0, strict=True)
    weights: str | None = None
    size: str | None = None
    tiling: bool = Field(False, strict=True)
    offload: bool = Field(False, strict=True)
    container: str | None = None
    chunk: int | None = Field(None, strict=True)
    prompts: str | None = None
    lossless: bool = Field(False, strict=True)
    baseline: str | None = None

    @field_validator("seeds", mode="before")
    @classmethod
    def _check_seeds(cls, value: Any) -> Any:
        """Raise ValueError for what is neither a number of seeds nor a list of different ones."""
        if value is None or (type(value) is int and 1 <= value <= MOST_SEEDS):
            return value
        listed = list(value) if isinstance(value, list | tuple) else []
        known = all(type(each) is int and 0 <= each <= LARGEST_SEED for each in listed)
        if not listed or not known or len(set(listed)) < len(listed) or len(listed) > MOST_SEEDS:
            raise ValueError(
                f"how many seeds, 1 to {MOST_SEEDS:,}, or a list of different ones, each 0 to {LARGEST_SEED:,}"
            )
        return tuple(listed)

    @model_validator(mode="after")
    def _check_first_seed(self) -> Self:
        """Raise ValueError where the first seed and the others contradict each other, or go too far."""
        if isinstance(self.seeds, tuple) and self.seed not in (0, self.seeds[0]):
            raise ValueError(f"seeds is a list, which says every seed; leave seed ({self.seed}) out")
        if self.every_seed()[-1] > LARGEST_SEED:
            raise ValueError(f"{self.seeds} seeds from {self.seed} on go beyond the last one, {LARGEST_SEED:,}")
        return self

    def every_seed(self) -> tuple[int, ...]:
        """Return its seeds in their order."""
        return self.seeds if isinstance(self.seeds, tuple) else tuple(range(self.seed, self.seed + (self.seeds or 1)))

    def backbone_request(self) -> BackboneRequest:
        """The backbone that is asked for, with its options. Raises PresetError for a device that does not compute."""
        return backbone_request(
            self.backbone,
            device=computing(self.device),
            dtype=self.dtype,
            weights=self.weights,
            size=self.size,
            tiling=self.tiling,
            offload=self.offload,
            container=self.container,
            chunk=self.chunk,
        )

    def stage(self) -> Backbone:
        """The backbone, where and as what it is asked for."""
        return registry.open_backbone(self.backbone_request())


def read_campaign(path: Path) -> Campaign:
    """A campaign from a TOML file. Raises CampaignError for one that cannot be read or asks for the unknown."""
    return make_campaign(read_toml(path, CampaignError), str(path))


def make_campaign(values: dict[str, Any], origin: str = "the campaign") -> Campaign:
    """A campaign from plain values. Raises CampaignError, with the nearest key for an unknown one."""
    for key, value in values.items():
        if key not in Campaign.model_fields:
            hint = did_you_mean(key, Campaign.model_fields)
            raise CampaignError(f"{origin}: unknown key {key!r}{hint}; allowed: {', '.join(Campaign.model_fields)}")
        if isinstance(value, str) and not value.strip():
            raise CampaignError(f"{origin}: {key} is empty; give it a value, or leave it out")
    try:
        return Campaign(**values)
    except ValidationError as error:
        raise CampaignError(f"{origin}: {told(error)}") from None
