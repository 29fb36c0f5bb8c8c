"""Shared parts of suites that also run on backbones without a known world: tasks from prompts, and metrics of films."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import CampaignError
from harness.memory import Boundary
from harness.suite import Metric, Onlooker, PictureMetric, QualitySuite, Row, Task, rollout_seeds
from suites.film_measures.declared import DERIVED, OVER_TIME, PLAIN, QUALITY
from suites.observers.curves import BEGINNING, CURVES
from suites.observers.elsewhere import Elsewhere
from suites.observers.picture_metrics import picture_metrics
from suites.prompts import Prompt, PromptSet, built_in, first, from_file, script
from suites.viewers.perceptual.run import METRICS
from suites.viewers.vbench.scores import DIMENSIONS

if TYPE_CHECKING:
    import pandas as pd

SWITCHED = ("smooth", "hardcut", "recall", "six")
"""Scenarios with prompt switches; in all others a video has one prompt."""


class Filmed(QualitySuite):
    """Base class of suites that film rollouts of backbones without a known world."""

    prompts: PromptSet | None = None
    """The user's prompts; None for those of the package."""

    @property
    def further(self) -> dict[str, Metric]:
        pictures = {name: metric.metric for name, metric in picture_metrics()[0].items()}
        return {**CURVES, **pictures, **viewers_measures()}

    def instruments(self) -> dict[str, PictureMetric]:
        return picture_metrics()[0]

    def remedy(self, backbone: Backbone) -> str | None:
        if backbone.text is not None and backbone.codec is not None:
            return None
        return "needs a backbone with a text encoder and a codec: pocket, self-forcing or longlive"

    def take(self, prompts: Path) -> bool:
        self.prompts = from_file(prompts)
        return True

    def only_own(self, backbone: Backbone) -> None:
        """Raise CampaignError where the user brought prompts that say nothing to a backbone."""
        if self.prompts is not None:
            raise CampaignError(
                f"prompts of yours mean nothing to {backbone.name}, whose world is its own; give --backbone "
                "self-forcing or longlive, or leave --prompts out"
            )

    def filmed(
        self, scenario: str, set: str, backbone: Backbone, count: int, seed: int, frames: int | None = None
    ) -> list[Task]:
        """Return one task a prompt: the first `count` of a set that fit a scenario, or all fitting ones of the user.

        frames: latent frames of prompts that do not state their length. seed: the campaign's seed; a prompt that states
        a seed keeps it.
        """
        kind = scenario if scenario in SWITCHED else "steady"
        if self.prompts is not None:
            chosen = tuple(prompt for prompt in self.prompts.prompts if _kind(prompt) == kind)
        else:
            fitting = [prompt for prompt in built_in(set).prompts if _kind(prompt) == kind]
            chosen = first(PromptSet(set, tuple(fitting), built_in(set).sha256), count)
        tasks = (
            self._task(scenario, prompt, backbone, each if prompt.seed is None else prompt.seed, frames)
            for prompt, each in zip(chosen, rollout_seeds(seed, len(chosen)), strict=True)
        )
        # A prompt may occur twice: without a seed, and with the seed that it gets then.
        return list(dict.fromkeys(tasks))

    def _task(self, scenario: str, prompt: Prompt, backbone: Backbone, seed: int, frames: int | None) -> Task:
        if prompt.frames is not None or any(scene.length for scene in prompt.scenes):
            # A prompt that states its length has this length in every tier.
            frames = None
        cues = script(prompt, rate=backbone.latents_per_second, chunk=backbone.chunk, frames=frames)
        row = Row(seed, tuple((cue.start, cue.text) for cue in cues.cues), prompt.vbench)
        return Task(scenario, cues.frames, 0, (row,), tuple(cue.boundary for cue in cues.cues))

    def given(self, backbone: Backbone, task: Task) -> Tensor | None:
        return None

    def film_scenario(self, boundaries: Sequence[Boundary]) -> str | None:
        return "steady" if len(boundaries) == 1 else None

    def onlooker(self, frames: int, rate: float, pixels: Callable[[int], int]) -> Onlooker:
        return Elsewhere(frames, rate, pixels)


def declared(metrics: Mapping[str, Sequence[Any]]) -> dict[str, Metric]:
    """Return metrics from the declarations of viewers, which use plain data because viewers import few modules."""
    return {name: Metric(*about) for name, about in metrics.items()}


@cache
def viewers_measures() -> Mapping[str, Metric]:
    """Return the measures of all viewers, VBench's dimensions over time, and measures derived from others."""
    over_time = {
        f"{name}{OVER_TIME}": (*about[:2], f"by clip: {about[2]}", *about[3:]) for name, about in DIMENSIONS.items()
    }
    every = (METRICS, DIMENSIONS, PLAIN, QUALITY, over_time, DERIVED)
    return MappingProxyType({name: metric for each in every for name, metric in declared(each).items()})


def trends(levels: Mapping[str, Metric]) -> dict[str, Metric]:
    """Contrast (end minus beginning) and slope (a minute) of metrics of the same way and unit."""
    found = {}
    for name, level in levels.items():
        spread = None if level.high is None or level.low is None else level.high - min(level.low, 0)
        low = None if spread is None else -spread
        found[f"{name}_contrast"] = Metric(level.unit, level.better, f"{name}: end minus beginning", low, spread)
        found[f"{name}_slope"] = Metric(f"{level.unit}/min", level.better, f"{name}: change a minute")
    return found


def without_themselves(scored: pd.DataFrame) -> pd.DataFrame:
    """Return scores without those that compare a film with itself.

    Films are compared with their own first seconds. Of a film (or of a beginning of one) that is no longer than these
    seconds nothing else is there: it would score 100 dB and stand in one column with films that were really compared.
    Scores of a backbone whose truth is known stay as they are.
    """
    if "psnr" not in set(scored["metric"]):
        return scored
    compared = {*picture_metrics()[0], "psnr", "lpips", "dino", "clip"}
    names = compared | {f"{name}_{trend}" for name in compared for trend in ("contrast", "slope")}
    alone = scored["metric"].isin(names) & (scored["horizon_latent_frames"] <= BEGINNING)
    return scored[~alone]


def _kind(prompt: Prompt) -> str:
    """Return the scenario of a prompt, by the boundaries of its scenes."""
    return kind_of([scene.boundary for scene in prompt.scenes])


def kind_of(kinds: Sequence[Boundary]) -> str:
    """Return the scenario of a film, by how its scenes are entered."""
    if len(kinds) == 1:
        return "steady"
    if "recall" in kinds:
        return "recall"
    return "six" if len(kinds) > 2 else kinds[1]
