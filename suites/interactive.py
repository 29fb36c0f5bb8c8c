"""Interactive: how fast does a video follow a new prompt, how much of the old scene leaks, does an earlier one return?

Every rollout begins with a true first chunk and the prompt "a thing", so that the first scene is known but not stated.
Scenarios: "smooth" (a few attributes change), "hardcut" (a cut to another scene, half of which is stated), "forget" (a
cut to another scene, of which nothing is stated: nothing of the old scene may stay), "recall" (another scene and back;
nothing of the returning scene is stated), "return-second" and "return-second-of-four" (three or four scenes, then back
to the second by its number) and "six" (six scenes in a row). The number behind the name is the length of a scene in
latent frames.

For other backbones no truth is known: scenes of ten seconds each ("smooth", "hardcut", "recall", "six") are filmed, and
viewers measure how well each scene shows its prompt, how much it shows the previous prompt, and what came back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.world import KnownWorld
from harness.memory import Boundary
from harness.suite import Chart, Column, Display, Margin, Metric, Observer, Place, Row, Table, Task, rollout_seeds
from suites.film_measures.scored import measured, others
from suites.film_measures.triggered import LEFT, TRIGGERED, conditioned_scores
from suites.film_suite import Filmed, declared, kind_of, without_themselves
from suites.observers.film import Camera
from suites.observers.scenes import LEAKS, Scenes
from suites.observers.truth import true_latents
from suites.prompts.known import half

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 40_000
GIVEN = 3
KINDS: dict[str, tuple[Boundary, ...]] = {
    "smooth": ("smooth",),
    "hardcut": ("hardcut",),
    "forget": ("hardcut",),
    "recall": ("hardcut", "recall"),
    "return-second": ("hardcut", "hardcut", "recall"),
    "return-second-of-four": ("hardcut", "hardcut", "hardcut", "recall"),
    "six": ("smooth", "hardcut", "smooth", "recall", "hardcut"),
}
"""How the scenes after the first are entered."""
BACK_TO = {"return-second": 2, "return-second-of-four": 2}
"""The number of the scene to which a scenario returns, where it is not the first."""
QUICK = {
    "smooth": (8, 0), "hardcut": (8, 0), "recall": (12, 0), "return-second": (12, 0), "six": (6, 0),
}  # fmt: skip
"""Rollouts of each scenario with scenes of 21 and of 84 latent frames."""
GATE = {"recall": (16, 0)}
CURVES = {
    "new_scene": Metric(
        "share", "higher", "what the switch changes and is known: seen, times the probe's confidence", 0, 1
    ),
    "old_scene": Metric("share", "lower", "attributes of the scene before that must go and are still seen", 0, 1),
    "first_scene": Metric("share", "neither", "attributes of the first scene that are seen", 0, 1),
}
SCORES = {
    "response": Metric("frames", "lower", "until all that the switch changes is seen with 90 % confidence", 0),
    "responded": Metric("share", "higher", "switches that were followed at all before the scene's end", 0, 1),
    **{
        f"leakage_{frames}": Metric("share", "lower", f"of the old scene still seen {frames} latent frames after", 0, 1)
        for frames in LEAKS
    },
    "leakage_chance": Metric("share", "neither", "the same share of the old scene of another rollout: chance", 0, 1),
    "recall": Metric("share", "higher", "attributes of the scene that is back, right", 0, 1, Margin(absolute=0.05)),
    "recall_chance": Metric("share", "neither", "the same share of another rollout's scene: chance", 0, 1),
    "reverted": Metric("share", "lower", "attributes that show the first scene instead of the one that is back", 0, 1),
    **declared({LEFT: TRIGGERED[LEFT]}),
    "constancy": Metric(
        "share", "higher", "what a scene showed once it had settled that it still shows at its end", 0, 1
    ),
    "jump": Metric("1", "lower", "largest change from frame to frame at the switch, beyond the true one", -1, 1),
}


SIX = "six-21"
FILMED = {
    "gate": {"recall": 2},
    "quick": {"smooth": 4, "hardcut": 4, "recall": 4, "six": 1},
}
ALL = {"smooth": 12, "hardcut": 12, "recall": 12, "six": 4}
"""Prompts of backbones whose truth is not known."""
SETS = {"smooth": "switch", "hardcut": "switch", "recall": "recall", "six": "six"}


class Interactive(Filmed):
    """Prompt switches of every kind, measured by the probe of a known world, or in films."""

    name = "interactive"
    version = "2"
    tiers = ("gate", "quick", "full", "long", "day")

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return CURVES | SCORES

    @property
    def further(self) -> dict[str, Metric]:
        return super().further | declared(TRIGGERED)

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        world = backbone.world
        if world is None:
            return [
                task
                for name, count in FILMED.get(tier, ALL).items()
                for task in self.filmed(name, SETS[name], backbone, count, seed)
            ]
        self.only_own(backbone)
        # A longer tier has longer videos, but a switch does not take longer in them.
        plans = {"gate": GATE, "quick": QUICK}.get(tier, dict.fromkeys(KINDS, (64, 64)))
        return [
            _task(world, name, length, rollout_seeds(seed, rows, FIRST_SEED))
            for name, counts in plans.items()
            for length, rows in zip((21, 84), counts, strict=True)
            if rows
        ]

    def at_equal_budget(self, task: Task, tier: str) -> bool:
        return tier != "quick"

    def given(self, backbone: Backbone, task: Task) -> Tensor | None:
        return true_latents(backbone, task, task.given) if task.given else None

    def observer(self, backbone: Backbone, task: Task, place: Place) -> Observer:
        return Camera(backbone, task, place) if backbone.world is None else Scenes(backbone, task)

    def film_scenario(self, boundaries: Sequence[Boundary]) -> str | None:
        return kind_of(boundaries) if len(boundaries) > 1 else None

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        if any(score == "response" for _, score in there):
            columns: tuple[Column, ...] = (
                Column(SIX, "responded", "followed"),
                Column(SIX, "leakage_12", "old scene stays"),
                Column("hardcut-21", "leakage_12", "after a cut"),
                Column("recall-21", "recall", "back after 5 s"),
                Column("recall-21", "recall_if_left", "of those that had left", on_terminal=False),
                Column("recall-21", "recall_asked", "that had left", on_terminal=False),
                Column("recall-84", "recall", "after 21 s"),
                Column("return-second-21", "recall", "second scene back"),
                Column("return-second-of-four-21", "recall", "second of four"),
                Column("return-second-21", "reverted", "first scene instead", on_terminal=False),
            )
            # The response time is measured by a probe, frame by frame.
            switches = Table("prompt switches", columns, summaries=(("median response", median_response),))
        else:
            columns = (
                Column("smooth", "clip_score_scene", "CLIP score, smooth"),
                Column("hardcut", "clip_score_scene", "after a cut"),
                Column("hardcut", "clip_old", "of the old prompt"),
                Column("recall", "recall_dino", "back (DINO)"),
                Column("recall", "recall_dino_chance", "by chance"),
                Column("recall", "recall_dino_if_left", "of those that had left (DINO)", on_terminal=False),
                Column("recall", "recall_asked", "that had left", on_terminal=False),
                Column("six", "clip_score_scene", "six scenes"),
            )
            switches = Table("prompt switches", columns)
        prices = (Column(SIX, "jump", "jump at a switch"), Column(SIX, "constancy", "constancy in a scene"))
        return Display(
            tables=(switches, Table("what a switch costs", prices, longest_only=True, switches=True)),
            charts=(Chart("prompt-switches", "switches", SIX),),
            filmstrips=("recall-21", SIX, "recall", "six"),
            order=20,
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """A rollout's mean over its switches of every score."""
        import pandas as pd

        made = [part for part in (measured(samples), conditioned_scores(samples)) if len(part)]
        plain = others(samples)
        scored = plain[plain["metric"].isin({**SCORES, **self.further})].dropna(subset="value")
        keys = [name for name in samples.columns if name not in ("at_frame", "value")]
        mean = scored.groupby(keys, observed=True, sort=False)["value"].mean().reset_index()
        # A horizon's scores are those of the whole video.
        whole = without_themselves(pd.DataFrame(mean.assign(at_frame=mean["horizon_latent_frames"])))
        return pd.concat([whole, *made], ignore_index=True) if made else whole


def median_response(samples: pd.DataFrame) -> str:
    """Return the median of the latent frames until a switch was followed; those never followed count as longer than
    any. samples: of one arm."""
    mine, keys = samples[samples["scenario"] == SIX], ["seed", "at_frame"]
    frames = mine[mine["metric"] == "response"].set_index(keys)["value"]
    followed = mine[mine["metric"] == "responded"].set_index(keys)["value"]
    frames = frames.where(followed > 0, np.inf)[followed.notna()]
    if frames.empty:
        return "n/a"
    middle = frames.median()
    if not np.isfinite(middle):
        return "never"
    return f"{middle:g} frame{'' if middle == 1 else 's'}"


def _task(world: KnownWorld, name: str, length: int, seeds: range) -> Task:
    """Return the task of a scenario whose scenes last `length` latent frames each."""
    rows = []
    for seed in seeds:
        said = _SAID[name](world, seed)
        entered = (None, *KINDS[name])
        prompts = [
            world.prompt(each, boundary, BACK_TO.get(name) if boundary == "recall" else None)
            for each, boundary in zip(said, entered, strict=True)
        ]
        rows.append(Row(seed, tuple((number * length, prompt) for number, prompt in enumerate(prompts))))
    boundaries: tuple[Boundary, ...] = ("smooth", *KINDS[name])
    return Task(f"{name}-{length}", len(boundaries) * length, GIVEN, tuple(rows), boundaries)


Said = Mapping[str, str]
"""The attributes that a prompt states."""


def _changed(world: KnownWorld, seed: int) -> Said:
    return world.changed(world.draw(seed), seed, 1)


def _second(world: KnownWorld, seed: int, scenes: int) -> list[Said]:
    """Return the statements of the script A, B and other scenes, back to B; all of B and the others is stated."""
    return [{}, *(world.draw(seed, number) for number in range(1, scenes)), {}]


def _six(world: KnownWorld, seed: int) -> list[Said]:
    """Return the statements of the script A, A changed, B, B changed, back to A, C.

    All of B and C is stated, so that every change is known.
    """
    second, third = world.draw(seed, 1), world.draw(seed, 2)
    return [{}, _changed(world, seed), second, world.changed(second, seed, 2), {}, third]


_SAID: dict[str, Callable[[KnownWorld, int], Sequence[Said]]] = {
    "smooth": lambda world, seed: [{}, _changed(world, seed)],
    "hardcut": lambda world, seed: [{}, half(world, seed, 1)],
    "forget": lambda world, seed: [{}, {}],
    "recall": lambda world, seed: [{}, half(world, seed, 1), {}],
    "return-second": lambda world, seed: _second(world, seed, 3),
    "return-second-of-four": lambda world, seed: _second(world, seed, 4),
    "six": _six,
}
"""What the prompt of each scene states."""
