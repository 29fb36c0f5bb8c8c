"""VBench-Long: the scores that papers on long video report, by the official protocol.

Rollouts from text are filmed. VBench itself, in a separate environment (`nox -s vbench`), measures the films and gives
every dimension of every film. The scores (quality, semantic and total score, and the plain means that some papers print
instead, each under its own name) are computed when a report is read.

Papers: VBench, arXiv:2311.17982; VBench++ (VBench-Long), arXiv:2411.13503.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.backbone.presets import Backbone
from harness.memory import Boundary
from harness.suite import Column, Display, Metric, Observer, Place, Table, Task
from suites.film_measures.scored import measured, others
from suites.film_measures.shown import measure_charts, measure_tables
from suites.film_suite import Filmed, declared, without_themselves
from suites.observers.film import Camera
from suites.viewers.vbench.scores import DIMENSIONS, SCORES, scores

if TYPE_CHECKING:
    import pandas as pd

SCENARIO = "vbench"
PLANS: dict[str, Sequence[tuple[int, int]]] = {
    "gate": [(120, 2)],
    "quick": [(120, 8)],
    "full": [(120, 32), (240, 32)],
    "long": [(960, 32)],
    "day": [(14_400, 4)],
}
"""Latent frames (30 s, 60 s, 4 min, 1 h), and numbers of prompts."""
EVERYTHING = "all prompts"
"""Prompt entry of a score that needs dimensions of different films, as in VBench's standard mode."""


class VbenchLong(Filmed):
    """The dimensions of VBench-Long, and the scores derived from them."""

    name = "vbench_long"
    version = "1"
    tiers = ("gate", "quick", "full", "long", "day")

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {}

    @property
    def further(self) -> dict[str, Metric]:
        return super().further | declared(SCORES)

    def remedy(self, backbone: Backbone) -> str | None:
        if backbone.world is not None:
            pixels = backbone.stride * backbone.latent_size[0]
            return (
                f"measures real videos, but those of {backbone.name} are drawings of {pixels} pixels: give --backbone "
                "self-forcing"
            )
        return super().remedy(backbone)

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        # Prompts that set their own length give the same task at every length of a tier.
        return list(
            dict.fromkeys(
                task
                for frames, count in PLANS[tier]
                for task in self.filmed(SCENARIO, "steady", backbone, count, seed, frames)
            )
        )

    def film_scenario(self, boundaries: Sequence[Boundary]) -> str | None:
        return SCENARIO if len(boundaries) == 1 else None

    def observer(self, backbone: Backbone, task: Task, place: Place) -> Observer:
        return Camera(backbone, task, place)

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        headings = {
            "total_score": "total",
            "quality_score": "quality",
            "semantic_score": "semantic",
            "plain_mean_memrope": "plain mean (MemRoPE's six)",
            "plain_mean_videomla": "plain mean (VideoMLA's six)",
            "subject_consistency": "subject",
            "background_consistency": "background",
            "temporal_flickering": "flickering",
            "motion_smoothness": "smoothness",
            "dynamic_degree": "dynamic",
            "aesthetic_quality": "aesthetic",
            "imaging_quality": "imaging",
            "overall_consistency": "overall",
        }
        columns = tuple(Column(SCENARIO, score, heading) for score, heading in headings.items())
        return Display(
            tables=(Table("VBench-Long", columns), *measure_tables(there)),
            charts=measure_charts(SCENARIO),
            filmstrips=(SCENARIO,),
            order=30,
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Return the dimensions of each film at its end with the film's scores, and the scores that need all films of
        an arm."""
        import pandas as pd

        made, samples = measured(samples), others(samples)
        seen = samples[samples["metric"].isin(self.further)].dropna(subset="value")
        keys = [name for name in samples.columns if name not in ("at_frame", "value")]
        last = seen.sort_values("at_frame").groupby(keys, observed=True, sort=False)["value"].last().reset_index()
        film = [name for name in keys if name not in ("metric", "unit", "better")]
        # Films of one arm are grouped, whichever machine made them.
        single = ("prompt", "seed", "cell", "repeat", "code", "environment", "cohort", "campaign")
        arm = [name for name in film if name not in single]
        parts, shared = [last], _shared(last, arm)
        for group, rows in last.groupby(arm, observed=True, sort=False):
            own = {key: _scores(part) for key, part in rows.groupby(film, observed=True, sort=False)}
            about: dict[str, object] = dict.fromkeys((name for name in single if name in film), "")
            about |= {**dict(zip(arm, group, strict=True)), "prompt": EVERYTHING, "seed": 0, "repeat": 0}
            # Scores over all films of an arm use only the films that the arms have in common.
            both = rows[[film in shared.get(group, {film}) for film in zip(rows["prompt"], rows["seed"], strict=True)]]
            for name, value in _scores(both).items():
                if all(name in found for found in own.values()):
                    parts += [_row(dict(zip(film, key, strict=True)), name, found[name]) for key, found in own.items()]
                else:
                    parts.append(_row(about, name, value))
        found = pd.concat(parts, ignore_index=True)
        scored = without_themselves(pd.DataFrame(found.assign(at_frame=found["horizon_latent_frames"])))
        return pd.concat([scored, made], ignore_index=True) if len(made) else scored


def _shared(last: pd.DataFrame, arm: Sequence[str]) -> dict[tuple[object, ...], set[tuple[str, int]]]:
    """Return the films, by prompt and seed, that each arm shares with those that have at least half as many films as
    the fullest arm. An arm that has fewer, or shares none, is left out: its scores are over its own films."""
    films = {
        group: set(zip(rows["prompt"], rows["seed"], strict=True))
        for group, rows in last.groupby(list(arm), observed=True, sort=False)
    }
    alike = [name for name in arm if name not in ("strategy", "arm", "knobs", "weights")]
    found = {}
    for group, mine in films.items():
        about = dict(zip(arm, group, strict=True))
        others = [
            theirs
            for other, theirs in films.items()
            if all(dict(zip(arm, other, strict=True))[name] == about[name] for name in alike)
        ]
        most = max(map(len, others))
        shared = set.intersection(*(each for each in others if 2 * len(each) >= most))
        if shared and 2 * len(mine) >= most:
            found[group] = shared
    return found


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    dimensions = rows[rows["metric"].isin(DIMENSIONS)]
    return scores(
        {str(name): float(values.mean()) for name, values in dimensions.groupby("metric", observed=True)["value"]}
    )


def _row(about: Mapping[str, object], metric: str, value: float) -> pd.DataFrame:
    import pandas as pd

    unit, better = SCORES[metric][:2]
    return pd.DataFrame([{**about, "metric": metric, "unit": unit, "better": better, "value": value}])
