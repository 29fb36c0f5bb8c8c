"""Drift: does a video keep its content, for how long, and which properties does it lose first?

Scenarios: "steady" (a rollout continues a true first chunk, and the prompt names no attribute: only the memory knows
what the chunk shows), "steady-said" (the same, with half of the attributes in the prompt), "steady-text" (from text
alone, with half of the attributes in the prompt), "evolve" (a few attributes change after 5 s, and from 10 s on the
prompt names none: the latest state counts, not the first), "accumulate" (one attribute after the other changes: all
stated values count), "intermittent" (a curtain hides the scene most of the time) and "occlusion" (a curtain hides it
once, for longer than any window). Shorter horizons are prefixes of one rollout.

For other backbones no truth is known: their rollouts from text ("steady") are filmed, and compared with their own
first five seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.world import KnownWorld, Prompts
from harness.memory import Boundary
from harness.suite import (
    HORIZONS,
    Chart,
    Column,
    Display,
    Margin,
    Metric,
    Observer,
    Place,
    Row,
    Task,
    curve,
    rollout_seeds,
)
from suites.film_measures.scored import measured, others
from suites.film_measures.shown import measure_charts, measure_tables
from suites.film_measures.windows import overlaps, weighted_mean
from suites.film_suite import Filmed, trends, without_themselves
from suites.observers.film import Camera
from suites.observers.picture_metrics import picture_metrics
from suites.observers.probe import Watch
from suites.observers.truth import true_latents
from suites.prompts.known import accumulate, evolve, half_said, intermittent, occlusion

if TYPE_CHECKING:
    import pandas as pd

AT_ENDS = 0.15
"""Share of a horizon that counts as its beginning, and as its end."""
FIRST_SEED = 20_000
GIVEN = 3
"""True latent frames with which the scenarios begin."""
LOST = 0.5
"""Identity below which a video has lost its content, if the identity stays below it."""

LEVELS = {
    "unsaid_identity": Metric(
        "share", "higher", "attributes that only the memory knows, still right", 0, 1, Margin(absolute=0.05)
    ),
    "identity": Metric("share", "higher", "attributes of the pictures, still right", 0, 1),
    "said_identity": Metric("share", "higher", "attributes that the prompt says, right", 0, 1),
    "identity_*": Metric("share", "higher", "frames with the right value of this attribute", 0, 1),
    "latest": Metric("share", "higher", "changed attributes that show their latest value", 0, 1),
    "reverted": Metric("share", "lower", "changed attributes that show an earlier value", 0, 1),
    "latest_chance": Metric("share", "neither", "the same share of another rollout's latest values: chance", 0, 1),
    "unchanged": Metric("share", "higher", "attributes that never changed, still right", 0, 1),
    "motion": Metric("share", "higher", "steps that lead as far as they should", 0, 1, Margin(absolute=0.1)),
    "presence": Metric("share", "higher", "frames that show the object", 0, 1),
    "guard": Metric("share", "higher", "not blank, frozen or looped: 0 voids identity", 0, 1),
    "seam": Metric("1", "lower", "change across chunk boundaries beyond that inside of chunks", -1, 1),
}
SURVIVAL = Metric(
    "s", "higher", "until unsaid identity falls below a half for good; at most the horizon", 0, until_horizon=True
)
TRACKED = ("unsaid_identity", "identity", "ssim")
"""Curves whose contrast and slope are scored."""
SEEN_LATER = ("psnr", "lpips", "dino", "clip", "clip_score")
"""Curves among `further` whose contrast and slope are scored."""
ROWS: Mapping[str, Mapping[str, int]] = {
    "gate": {"steady": 16},
    "quick": {"steady": 12, "evolve": 12, "occlusion": 12},
    "full": {"steady": 64, "evolve": 64, "accumulate": 64, "intermittent": 64, "occlusion": 64, "steady-said": 32,
             "steady-text": 32},
    "long": {"steady": 8, "steady-said": 4, "steady-text": 4},
    "day": {"steady": 4},
}  # fmt: skip
"""Rollouts of each scenario in a known world."""
HORIZON = {"gate": 240, "quick": 240, "full": 960, "long": 14_400, "day": 345_600}
"""Latent frames of the scenarios without an end of their own."""
MINUTE, COVERED = 240, 84
"""Latent frames of the scenarios whose scene changes or is hidden repeatedly, and of the one with a single curtain."""
STEADY = {"gate": (120, 2), "quick": (120, 8), "full": (240, 32), "long": (960, 16), "day": (14_400, 2)}
"""Latent frames and numbers of prompts for backbones without a known world, which are a thousand times as slow."""


class Drift(Filmed):
    """Identity, motion and looks of a video over its length, against a known truth or against its own beginning."""

    name = "drift"
    version = "3"
    tiers = ("gate", "quick", "full", "long", "day")

    @property
    def metrics(self) -> dict[str, Metric]:
        pictures = {name: metric.metric for name, metric in picture_metrics()[0].items()}
        tracked = {name: Metric("share", "higher", "", -1, 1) for name in TRACKED}
        return LEVELS | pictures | trends(tracked) | {"survival": SURVIVAL}

    @property
    def further(self) -> dict[str, Metric]:
        found = super().further
        return found | trends({name: found[name] for name in SEEN_LATER})

    def skipped(self) -> dict[str, str]:
        return picture_metrics()[1]

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        world = backbone.world
        if world is None:
            frames, count = STEADY[tier]
            return self.filmed("steady", "steady", backbone, count, seed, frames)
        self.only_own(backbone)
        rows = ROWS[tier]
        frames = HORIZON[tier]
        seeds = rollout_seeds(seed, max(rows.values()), FIRST_SEED)
        shown = [name for name in rows if world.curtain is not None or name not in ("occlusion", "intermittent")]
        return [_task(world, name, seeds[: rows[name]], frames) for name in shown]

    def at_equal_budget(self, task: Task, tier: str) -> bool:
        # A quick campaign takes minutes, so only the first scenario runs at other budgets.
        return tier != "quick" or task.scenario == "steady"

    def given(self, backbone: Backbone, task: Task) -> Tensor | None:
        return true_latents(backbone, task, task.given) if task.given else None

    def observer(self, backbone: Backbone, task: Task, place: Place) -> Observer:
        return Camera(backbone, task, place) if backbone.world is None else Watch(backbone, task)

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        scores = {score for _, score in there}
        filmed = bool({"psnr", "guard"} & scores) and "identity" not in scores
        headline = Column("steady", "unsaid_identity", "unsaid identity")
        known = (
            headline,
            Column("steady", "identity", "identity", on_terminal=False),
            Column("steady", "survival", "itself for (s)"),
            Column("steady", "motion", "motion", on_terminal=False),
            Column("evolve", "latest", "latest state"),
            Column("evolve", "reverted", "went back", on_terminal=False),
            Column("accumulate", "latest", "all that was said"),
            Column("intermittent", "unsaid_identity", "seen rarely"),
            Column("steady-text", "identity", "identity, from text", on_terminal=False),
            Column("occlusion", "unsaid_identity", "after an occlusion"),
        )
        films = (
            Column("steady", "dino", "DINO"),
            Column("steady", "clip", "CLIP"),
            Column("steady", "lpips", "LPIPS"),
            Column("steady", "psnr", "PSNR (dB)"),
            Column("steady", "sharpness", "sharpness"),
            Column("steady", "clip_score", "CLIP score"),
            Column("steady", "dynamic", "moves"),
            Column("steady", "guard", "alive"),
        )
        about = (
            "DINO, CLIP, LPIPS and PSNR hold a film's end against its own first five seconds; beside them stand "
            "whether it moves (1 of flow, by VBench's rule) and whether it is alive (neither blank, frozen nor a "
            "loop): a film that stands still has the best of the others."
        )
        # Metrics of plug-ins.
        more = [name for name in self.instruments() if name not in ("colour_distance", "sharpness", "ssim")]
        curves = ["dino", "clip", "lpips", "ssim", "clip_score"] if filmed else ["unsaid_identity", "motion"]
        return Display(
            columns=(*(films if filmed else known), *(Column("steady", name, name.replace("_", " ")) for name in more)),
            charts=(
                *(curve("steady", name) for name in curves + more),
                curve("evolve", "latest"),
                curve("accumulate", "latest"),
                curve("intermittent", "unsaid_identity"),
                curve("occlusion", "unsaid_identity"),
                Chart("steady-survival", "survival", "steady", "survival"),
                Chart("steady-precision", "precision", "steady", "unsaid_identity"),
                *(measure_charts("steady") if filmed else ()),
            ),
            tables=measure_tables(there) if filmed else (),
            filmstrips=("steady", "evolve", "intermittent", "occlusion"),
            headline=headline,
            notes=(about,) if filmed else (),
            order=0,
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        made, found = measured(samples), self._scores(others(samples))
        return pd.concat([found, made], ignore_index=True) if len(made) else found

    def _scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        keys = [name for name in samples.columns if name not in ("at_frame", "value")]
        curves = samples.set_index([*keys, "at_frame"])["value"].unstack("at_frame").sort_index(axis=1)
        ends, values = curves.columns.to_numpy(), curves.to_numpy(dtype=float)
        about = curves.index.to_frame(index=False)
        rate = (about["horizon_seconds"] / about["horizon_latent_frames"]).to_numpy()
        length = about["horizon_latent_frames"].to_numpy()
        scored = []
        for horizon in sorted({*HORIZONS, *length}):
            rows = (length == horizon) | ((length > horizon) & (horizon in HORIZONS))
            if not rows.any() or ends[0] > horizon:
                continue
            within, here = ends <= horizon, values[rows]
            early, late = (
                overlaps(ends, *span) for span in ((0, AT_ENDS * horizon), ((1 - AT_ENDS) * horizon, horizon))
            )
            metric = about["metric"].to_numpy()[rows]
            part = about[rows].assign(horizon_latent_frames=horizon, horizon_seconds=horizon * rate[rows])

            def score(
                name: str, which: np.ndarray, numbers: np.ndarray, part: pd.DataFrame = part, horizon: int = horizon
            ) -> None:
                scored.append(part[which].assign(metric=name, at_frame=horizon, value=numbers[which]))

            level = weighted_mean(here, late)
            scored.append(part.assign(at_frame=horizon, value=level))
            contrast = level - weighted_mean(here, early)
            slope = _slope(ends[within], here[:, within]) / rate[rows] * 60
            for name in (*TRACKED, *SEEN_LATER):
                score(f"{name}_contrast", metric == name, contrast)
                score(f"{name}_slope", metric == name, slope)
            lost = _lost(ends[within], here[:, within]) * rate[rows]
            score("survival", metric == "unsaid_identity", lost)
        found = pd.concat(scored, ignore_index=True).dropna(subset="value")
        return without_themselves(found).reset_index(drop=True)


def _task(world: KnownWorld, scenario: str, seeds: Sequence[int], frames: int) -> Task:
    """Return the task of a scenario."""
    scripts: list[Prompts]
    if scenario == "occlusion":
        scripts, frames = [occlusion(world)] * len(seeds), COVERED
    elif scenario == "intermittent":
        scripts, frames = [intermittent(world, MINUTE)] * len(seeds), MINUTE
    elif scenario in ("evolve", "accumulate"):
        make = evolve if scenario == "evolve" else accumulate
        scripts, frames = [make(world, seed) for seed in seeds], MINUTE
    elif scenario == "steady":
        scripts = [((0, world.prompt({})),)] * len(seeds)
    else:
        # Without a true beginning the prompt states the motion; otherwise a frozen video could be a scene at rest.
        scripts = [((0, half_said(world, seed, motion=scenario == "steady-text")),) for seed in seeds]
    rows = tuple(Row(seed, tuple(script)) for seed, script in zip(seeds, scripts, strict=True))
    boundaries: list[Boundary] = ["smooth"] * len(scripts[0])
    if scenario in ("occlusion", "intermittent"):
        # A curtain falls smoothly; the scene behind it comes back.
        boundaries[2::2] = ["recall"] * len(boundaries[2::2])
    return Task(scenario, frames, 0 if scenario == "steady-text" else GIVEN, rows, tuple(boundaries))


def _slope(ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the slope a frame by least squares; NaN for fewer than two windows."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(1), 1)
    times = np.where(there, ends, 0.0)
    off = np.where(there, ends - (times.sum(1) / count)[:, None], 0.0)
    spread = (off**2).sum(1)
    return np.where(spread > 0, np.nansum(off * np.nan_to_num(values), 1) / np.maximum(spread, 1e-9), np.nan)


def _lost(ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the latent frames until a curve stays below `LOST`; the last window's end where it never does."""
    starts = np.concatenate(([0], ends[:-1]))
    kept = np.where(np.isfinite(values), values >= LOST, False)
    any_kept = kept.any(1)
    last = values.shape[1] - 1 - kept[:, ::-1].argmax(1)
    lost = np.where(any_kept, ends[last], starts[0]).astype(float)
    return np.where(np.isfinite(values).any(1), lost, np.nan)
