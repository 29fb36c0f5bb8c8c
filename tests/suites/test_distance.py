"""The yardstick: nothing between a memory and full attention but what the memory lacks."""

from __future__ import annotations

from typing import Any

import torch

from harness import registry
from harness.campaign.expansion import Arm
from harness.campaign.expansion import Cell as CampaignCell
from harness.engines.inline import run_cell
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.store.store import Store
from reports.tables import scores, tidy
from suites.distance import Comparison, Distance
from tests.toy import ASKED, backbone


def toy() -> Any:
    return backbone(prompts=["one", "two", "three"], trained_frames=18)


def distances(name: str, stage: Any) -> dict[int, list[float]]:
    """Percent of variance after so many frames, a number a row."""
    suite = Distance()
    (task,) = suite.tasks(stage, "quick")
    given = suite.given(stage, task)
    observer = Comparison(stage, task, given)
    texts = [row.script[0][1] for row in task.rows]
    _, strategy = registry.parse_strategy(name)
    for chunk in rollout(
        stage,
        strategy,
        prompts=stage.text(texts),
        latent_frames=task.frames,
        latent_size=stage.latent_size,
        noise=PairedNoise([(row.seed, text) for row, text in zip(task.rows, texts, strict=True)]),
        forced=given,
    ):
        observer.see(chunk.latents, chunk.start)
    found: dict[int, list[float]] = {}
    for sample in observer.samples():
        found.setdefault(sample.at_frame, []).append(float(sample.value or 0))
    return found


def test_full_attention_is_at_no_distance_of_itself_and_a_window_only_once_it_has_evicted() -> None:
    stage = toy()
    assert all(value == 0 for values in distances("full", stage).values() for value in values)
    window = distances("sliding_window.window=9", stage)
    assert list(window) == [3, 6, 9, 12, 15, 18]
    assert all(value < 1e-6 for frame in (3, 6, 9) for value in window[frame])
    assert all(value > 1e-4 for frame in (12, 15, 18) for value in window[frame])


def test_the_distance_is_that_of_the_next_chunk_after_the_same_past() -> None:
    stage = toy()
    suite = Distance()
    (task,) = suite.tasks(stage, "quick")
    given = suite.given(stage, task)
    text = task.rows[0].script[0][1]

    def next_chunk(name: str) -> torch.Tensor:
        class Shifted(PairedNoise):
            """The noise of the fifth chunk for the first that is drawn."""

            def initial(self, chunk: int, *draw: Any) -> torch.Tensor:
                return super().initial(chunk + 4, *draw)

            def renoise(self, chunk: int, *draw: Any) -> torch.Tensor:
                return super().renoise(chunk + 4, *draw)

        (chunk,) = rollout(
            stage,
            registry.parse_strategy(name)[1],
            prompts=stage.text([text]),
            latent_frames=15,
            latent_size=stage.latent_size,
            noise=Shifted([(task.rows[0].seed, text)]),
            initial=given[:1, :12],
        )
        return chunk.latents

    off = (next_chunk("memrope.window=9,sink=1") - next_chunk("full")).square().mean() / given.var()
    assert abs(distances("memrope.window=9,sink=1", stage)[15][0] - 100 * float(off)) < 1e-3


def test_what_a_rollout_remembers_is_what_is_forced_on_it() -> None:
    stage = toy()
    (task,) = Distance().tasks(stage, "quick")
    given = Distance().given(stage, task)
    other = given.clone()
    other[:, 3:6] += 1
    texts = [row.script[0][1] for row in task.rows]
    noise = PairedNoise([(row.seed, text) for row, text in zip(task.rows, texts, strict=True)])
    runs = [
        [
            chunk.latents
            for chunk in rollout(
                stage,
                registry.strategy("full"),
                prompts=stage.text(texts),
                latent_frames=task.frames,
                latent_size=stage.latent_size,
                noise=noise,
                forced=forced,
            )
        ]
        for forced in (given, other)
    ]
    same = [torch.equal(a, b) for a, b in zip(*runs, strict=True)]
    assert same == [True, True, False, False, False, False]


def test_a_campaign_of_it_scores_the_mean_of_its_chunks(tmp_path) -> None:  # type: ignore[no-untyped-def]
    stage, store = toy(), Store(tmp_path / "run")
    strategy = registry.strategy("sliding_window", window=6)
    (task,) = Distance().tasks(stage, "quick")
    cell = CampaignCell("a" * 16, Arm("sliding_window", strategy, ("as published",)), Distance(), task)
    store.begin({"name": "run", "asked": {**ASKED, "cells": [cell.id]}, "environment": {}})
    run_cell(store, stage, cell)
    found = store.find(cell.id)
    assert found is not None
    assert found.status == "ok", found.about["reason"]
    table = tidy(store)
    assert set(table["weights"]) == {""}
    scored = scores(table)
    expected = [sum(values) / 6 for values in zip(*distances("sliding_window.window=6", stage).values(), strict=True)]
    assert sorted(round(x, 4) for x in scored["value"]) == sorted(round(x, 4) for x in expected)
