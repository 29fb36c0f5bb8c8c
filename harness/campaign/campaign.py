"""A campaign as requested: strategies with their knobs, suites, a backbone and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest, Compilation
from harness.campaign.options import backbone_request, computing
from harness.errors import CampaignError, did_you_mean
from harness.files import read_toml
from harness.limits import LARGEST_SEED, MOST_SEEDS, MOST_WORKERS
from harness.plan.budget import USUAL_WINDOW
from harness.store.records import first_error

PUBLISHED, EQUAL = "as published", "equal budget"
"""Names of the two tables of a report: every strategy at its own defaults, and all at the same cached bytes."""


class Campaign(BaseModel):
    """A campaign as requested, in a TOML file or by options.

    Parameters
    ----------
    strategies
        NAME or NAME.KNOB=VALUE[,KNOB=VALUE]; all registered ones if empty.
    knobs
        A value, or a list of values, for each knob of a strategy; every combination is an arm. A knob that an entry of
        `strategies` sets itself keeps that value.
    suites
        Names of suites; by default drift, interactive and distance, and fairness on a backbone whose world is known.
    equal_budget
        Latent frames of the dense window whose cached bytes every bounded strategy also gets, at most the backbone's
        trained range; 0 for the table as published only.
    seed, seeds
        `seeds` = 3 means `seed` and the two seeds above it; a list names every seed. The rollouts of all seeds belong
        to one campaign and are reported together.
    compile
        How passes of the model run: "off", "blocks" or "graphs" (`harness.backbone.request`).
    weights, size, tiling, offload, container, chunk, decoder
        Options of a published backbone; `size` is "480x832", height first, in pixels, `chunk` is in latent frames, and
        `decoder` is "wan" or "light".
    prompts
        A file of prompts that replace a suite's own.
    lossless
        Also keep lossless videos.
    baseline
        The arm with which reports compare the others, NAME or NAME.KNOB=VALUE.
    engine, workers
        Who runs the cells (`harness.engines`), and how many workers: a number, or "auto" for one a visible device.
    address
        The cluster of the engine "ray"; one on this machine by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = "pocket"
    device: str = "cpu"
    dtype: str | None = None
    compile: Compilation = "off"
    strategies: tuple[str, ...] = ()
    knobs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    suites: tuple[str, ...] | None = Field(None, min_length=1)
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
    decoder: str | None = None
    prompts: str | None = None
    lossless: bool = Field(False, strict=True)
    baseline: str | None = None
    engine: Literal["inline", "processes", "ray"] | None = None
    workers: Literal["auto"] | int = "auto"
    address: str | None = None

    @field_validator("workers", mode="before")
    @classmethod
    def _check_workers(cls, value: Any) -> Any:
        """Raise ValueError for a value that is neither a number of workers nor "auto"."""
        if value != "auto" and not (type(value) is int and 1 <= value <= MOST_WORKERS):
            raise ValueError(f"must be a number of workers, 1 to {MOST_WORKERS}, or 'auto'")
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _check_seeds(cls, value: Any) -> Any:
        """Raise ValueError for a value that is neither a number of seeds nor a list of different seeds."""
        if value is None or (type(value) is int and 1 <= value <= MOST_SEEDS):
            return value
        listed = list(value) if isinstance(value, list | tuple) else []
        known = all(type(each) is int and 0 <= each <= LARGEST_SEED for each in listed)
        if not listed or not known or len(set(listed)) < len(listed) or len(listed) > MOST_SEEDS:
            raise ValueError(
                f"must be a number of seeds, 1 to {MOST_SEEDS:,}, or a list of different seeds, each 0 to "
                f"{LARGEST_SEED:,}"
            )
        return tuple(listed)

    @model_validator(mode="after")
    def _check_first_seed(self) -> Self:
        """Raise ValueError where `seed` contradicts the list `seeds`, or the last seed is too large."""
        if isinstance(self.seeds, tuple) and self.seed not in (0, self.seeds[0]):
            raise ValueError(f"seeds is a list, which names every seed; leave seed ({self.seed}) out")
        if self.every_seed()[-1] > LARGEST_SEED:
            raise ValueError(f"{self.seeds} seeds from {self.seed} on exceed the largest seed, {LARGEST_SEED:,}")
        return self

    def every_seed(self) -> tuple[int, ...]:
        """Return all seeds in order."""
        return self.seeds if isinstance(self.seeds, tuple) else tuple(range(self.seed, self.seed + (self.seeds or 1)))

    def backbone_request(self) -> BackboneRequest:
        """Return the request for its backbone, with its options. Raises PresetError for the device "meta"."""
        return backbone_request(
            self.backbone,
            device=computing(self.device),
            dtype=self.dtype,
            compile=self.compile,
            weights=self.weights,
            size=self.size,
            tiling=self.tiling,
            offload=self.offload,
            container=self.container,
            chunk=self.chunk,
            decoder=self.decoder,
        )

    def stage(self) -> Backbone:
        """Return its backbone, opened on its device and in its data type."""
        return registry.open_backbone(self.backbone_request())


def read_campaign(path: Path) -> Campaign:
    """Return the campaign in a TOML file. Raises CampaignError for a file that cannot be read or is invalid."""
    return make_campaign(read_toml(path, CampaignError), str(path))


def make_campaign(values: dict[str, Any], origin: str = "the campaign") -> Campaign:
    """Return the campaign of plain values.

    Raises CampaignError for an invalid value, and for an unknown key, with the most similar key. Its message begins
    with `origin`.
    """
    for key, value in values.items():
        if key not in Campaign.model_fields:
            hint = did_you_mean(key, Campaign.model_fields)
            raise CampaignError(f"{origin}: unknown key {key!r}{hint}; allowed: {', '.join(Campaign.model_fields)}")
        if isinstance(value, str) and not value.strip():
            raise CampaignError(f"{origin}: {key} is empty; give it a value, or leave it out")
    try:
        return Campaign(**values)
    except ValidationError as error:
        raise CampaignError(f"{origin}: {first_error(error)}") from None
