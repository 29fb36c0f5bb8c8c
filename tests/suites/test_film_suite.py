"""Tasks of backbones whose truth is not known, and the scores of VBench-Long."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells
from harness.errors import CampaignError
from harness.memory.knobs import changed_fields
from harness.suite import Metric
from suites.distance import Distance
from suites.drift import STEADY, Drift
from suites.film_suite import trends
from suites.interactive import ALL, FILMED, Interactive
from suites.prompts import built_in
from suites.vbench_long import EVERYTHING, VbenchLong
from suites.viewers.vbench.scores import QUALITY, SEMANTIC, scores


@pytest.fixture(scope="module")
def paper():
    """Full size on paper: what tasks are made for."""
    backbone = registry.backbone("longlive", device="meta")
    backbone.text, backbone.codec = lambda prompts: None, object()
    return backbone


@pytest.mark.parametrize("tier", Drift.tiers)
def test_drift_films_a_prompt_a_task(paper, tier):
    tasks = Drift().tasks(paper, tier)
    frames, count = STEADY[tier]
    assert [task.frames for task in tasks] == [frames] * count
    assert {len(task.rows) for task in tasks} == {1}
    texts = [task.rows[0].script for task in tasks]
    assert texts == [((0, prompt.scenes[0].text),) for prompt in built_in("steady").prompts[: len(texts)]]
    assert Drift().given(paper, tasks[0]) is None


def test_another_seed_draws_other_noise_for_the_same_prompts(paper):
    one, two = Drift().tasks(paper, "quick"), Drift().tasks(paper, "quick", 1)
    assert [task.rows[0].script for task in one] == [task.rows[0].script for task in two]
    assert not {task.rows[0].seed for task in one} & {task.rows[0].seed for task in two}


@pytest.mark.parametrize("tier", Interactive.tiers)
def test_interactive_films_scenes_of_ten_seconds(paper, tier):
    tasks = Interactive().tasks(paper, tier)
    wanted = FILMED.get(tier, ALL)
    assert {name: sum(task.scenario == name for task in tasks) for name in wanted} == wanted
    for task in tasks:
        starts = [start for start, _ in task.rows[0].script]
        assert starts == [39 * number for number in range(len(starts))]
        assert all(frame % 3 == 0 for frame in (*starts, task.frames))
        assert len(task.boundaries) == len(starts)
    kinds = {task.scenario: task.boundaries[1:] for task in tasks}
    assert kinds["recall"] == ("hardcut", "recall")
    assert kinds.get("six", ("smooth",) * 5) == ("smooth",) * 5


def test_prompts_of_one_s_own_go_where_they_fit(paper, tmp_path):
    path = tmp_path / "mine.jsonl"
    records = [
        {"id": "a", "prompt": "a fox"},
        {"id": "b", "prompts": ["a den"], "frames": 30},
        {"id": "c", "script": "a fox [9f#] | a den [12f]"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    drift, interactive, vbench = Drift(), Interactive(), VbenchLong()
    assert all(suite.take(path) for suite in (drift, interactive, vbench))
    assert [(task.frames, task.rows[0].script) for task in drift.tasks(paper, "full")] == [
        (240, ((0, "a fox"),)),
        (30, ((0, "a den"),)),
    ]
    (cut,) = interactive.tasks(paper, "quick")
    assert (cut.scenario, cut.frames, cut.rows[0].script) == ("hardcut", 21, ((0, "a fox"), (9, "a den")))
    assert [task.frames for task in vbench.tasks(paper, "quick")] == [120, 30]
    assert not Distance().take(path)
    with pytest.raises(CampaignError, match="prompts of yours mean nothing to pocket"):
        drift.tasks(registry.backbone("pocket"), "quick")


@pytest.fixture(scope="module")
def model():
    """The pocket's model as one whose world is not known: real weights, which name cells, and prompts of one's own."""
    backbone = registry.backbone("pocket")
    return replace(backbone, name="self-forcing", world=None)


def ids(model, path, **asked):
    """The seeds of a campaign's cells, by their ids."""
    campaign = make_campaign({"strategies": ["memrope"], "suites": ["drift"], "equal_budget": 0, "prompts": str(path),
                              **asked})  # fmt: skip
    return {cell.id: cell.task.rows[0].seed for cell in cells(campaign, model)}


def test_a_prompt_s_seed_is_that_of_its_rollout_and_names_its_cell(model, tmp_path):
    plain, seeded = tmp_path / "plain.jsonl", tmp_path / "seeded.jsonl"
    plain.write_text('{"prompt": "a"}\n{"prompt": "b"}\n', encoding="utf-8")
    seeded.write_text('{"prompt": "a", "seed": 7}\n{"prompt": "b"}\n{"prompt": "a", "seed": 8}\n', encoding="utf-8")
    one, other = ids(model, plain), ids(model, seeded)
    assert list(one.values()) == [0, 1]
    assert list(other.values()) == [7, 1, 8]
    # What says no seed is the same cell as before.
    assert set(one) & set(other) == {list(one)[1]}
    # Another seed of the campaign leaves a prompt's own alone.
    assert list(ids(model, seeded, seed=2).values()) == [7, 2001, 8]
    assert set(ids(model, seeded, seed=2)) & set(other) == {*list(other)[::2]}


def test_the_seed_that_a_prompt_gets_anyway_makes_no_second_cell(model, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "a", "seed": 0}\n', encoding="utf-8")
    assert list(ids(model, path).values()) == [0]
    assert list(ids(model, path, seed=1).values()) == [1000, 0]


def test_a_prompt_s_own_seed_is_one_rollout_under_all_seeds_of_a_campaign(model, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "seed": 7}\n{"prompt": "b"}\n', encoding="utf-8")
    assert list(ids(model, path, seeds=3).values()) == [7, 1, 1001, 2001]
    alone = [ids(model, path, seed=seed) for seed in range(3)]
    assert set(ids(model, path, seeds=[0, 1, 2])) == set().union(*alone)


def test_ids_of_cells_without_seeds_of_their_own_stay_as_they_were(model, tmp_path):
    """What finished folders hold must be found again."""
    path = tmp_path / "p.txt"
    path.write_text("a fox\n", encoding="utf-8")
    (cell,) = cells(make_campaign({"strategies": ["memrope"], "suites": ["drift"], "equal_budget": 0,
                                   "prompts": str(path)}), model)  # fmt: skip
    assert changed_fields(cell.task) == {
        "scenario": "steady",
        "frames": 120,
        "given": 0,
        "rows": [{"seed": 0, "script": [[0, "a fox"]]}],
    }


def test_what_the_pocket_measures_keeps_its_name():
    """Cells are named by `metrics`: what films and viewers add must not change them."""
    suite = Drift()
    assert {"lpips", "dino", "psnr", "subject_consistency", "dino_slope"} <= set(suite.further)
    assert not set(suite.further) & (set(suite.metrics) - {"ssim", "sharpness", "colour_distance", "guard", "seam"})
    assert set(suite.all_metrics) == set(suite.metrics) | set(suite.further)
    assert {"identity", "ssim_contrast", "survival"} <= set(suite.metrics)


def test_trends_have_the_way_of_their_level():
    found = trends({"lpips": Metric("1", "lower", "x", 0, None), "clip": Metric("1", "higher", "x", -1, 1)})
    assert (found["lpips_slope"].better, found["lpips_slope"].unit) == ("lower", "1/min")
    assert (found["clip_contrast"].low, found["clip_contrast"].high) == (-2, 2)
    assert found["lpips_contrast"].high is None


def samples(rows):
    """The tidy table of films: (strategy, prompt, seed, metric, value)."""
    about = {"knobs": "{}", "suite": "vbench_long", "scenario": "vbench", "unit": "share", "better": "higher"}
    return pd.DataFrame(
        [
            {**about, "strategy": strategy, "prompt": prompt, "seed": seed, "metric": metric, "value": value,
             "cell": f"{strategy}-{prompt}", "repeat": 0, "horizon_latent_frames": 120, "horizon_seconds": 30.0,
             "at_frame": at}
            for strategy, prompt, seed, metric, at, value in rows
        ]
    )  # fmt: skip


def test_films_with_all_dimensions_have_scores_of_their_own():
    rows = [
        ("memrope", prompt, seed, name, 120, 0.9 - 0.1 * seed)
        for seed, prompt in enumerate(("a fox", "a den"))
        for name in QUALITY
    ]
    # Curves of the camera are taken at the end.
    rows += [("memrope", "a fox", 0, "psnr", at, float(at)) for at in (21, 120)]
    found = VbenchLong().scores(samples(rows)).set_index(["prompt", "metric"])["value"]
    for seed, prompt in enumerate(("a fox", "a den")):
        expected = scores(dict.fromkeys(QUALITY, 0.9 - 0.1 * seed))
        assert found[prompt, "quality_score"] == pytest.approx(expected["quality_score"])
        assert found[prompt, "plain_mean_memrope"] == pytest.approx(90 - 10 * seed)
    assert found["a fox", "psnr"] == 120
    assert "total_score" not in found.index.get_level_values("metric")
    assert EVERYTHING not in found.index.get_level_values("prompt")


def test_dimensions_of_different_films_make_the_total_of_an_arm():
    """As in VBench's standard mode, where every dimension has prompts of its own."""
    every = {name: 0.5 + 0.02 * number for number, name in enumerate((*QUALITY, *SEMANTIC))}
    rows = [
        ("memrope", f"prompt of {name} {n}", n, name, 120, value + n * 0.1 - 0.1)
        for name, value in every.items()
        for n in range(3)
    ]
    rows += [("full", "a fox", 0, "scene", 120, 0.1)]
    found = VbenchLong().scores(samples(rows))
    together = found[found["prompt"] == EVERYTHING].set_index(["strategy", "metric"])["value"]
    assert together["memrope", "total_score"] == pytest.approx(scores(every)["total_score"])
    assert together["memrope", "quality_score"] == pytest.approx(scores(every)["quality_score"])
    assert "full" not in together.index.get_level_values("strategy")
    assert len(found[found["metric"] == "scene"]) == 4


def test_a_total_is_of_the_films_that_arms_have_in_common():
    """A film that failed under one arm must not count for the other one alone."""
    every = (*QUALITY, *SEMANTIC)
    rows = [
        (arm, f"prompt of {name} {n}", n, name, 120, 0.9 if n == 2 else 0.5)
        for arm in ("memrope", "full")
        for name in every
        for n in range(3 if arm == "memrope" else 2)
    ]
    found = VbenchLong().scores(samples(rows))
    together = found[found["prompt"] == EVERYTHING].set_index(["strategy", "metric"])["value"]
    alike = scores(dict.fromkeys(every, 0.5))["total_score"]
    assert together["memrope", "total_score"] == pytest.approx(alike)
    assert together["full", "total_score"] == pytest.approx(alike)


def test_prompts_that_fit_no_scenario_are_a_mistake(paper, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.campaign.expansion.weights_hash", lambda backbone: "0")
    path = tmp_path / "mine.txt"
    path.write_text("a fox [9f#] | a den [12f]\n", encoding="utf-8")
    asked = make_campaign({"backbone": "longlive", "suites": ["drift"], "prompts": str(path), "strategies": ["full"]})
    with pytest.raises(CampaignError, match=r"none of .*mine\.txt fits suite drift: .* take prompts of one scene"):
        cells(asked, paper)


def test_a_film_without_all_dimensions_takes_the_score_from_the_whole_set():
    whole = [("memrope", "a fox", 0, name, 120, 0.9) for name in QUALITY]
    part = [("memrope", "a den", 1, name, 120, 0.5) for name in list(QUALITY)[:-1]]
    other = [("full", prompt, seed, name, 120, 0.7) for seed, prompt in enumerate("ab") for name in QUALITY]
    found = VbenchLong().scores(samples(whole + part + other))
    quality = found[found["metric"] == "quality_score"].set_index(["strategy", "prompt"])["value"]
    together = dict.fromkeys(list(QUALITY)[:-1], 0.7) | {list(QUALITY)[-1]: 0.9}
    assert quality.to_dict() == {
        ("memrope", EVERYTHING): pytest.approx(scores(together)["quality_score"]),
        ("full", "a"): pytest.approx(scores(dict.fromkeys(QUALITY, 0.7))["quality_score"]),
        ("full", "b"): pytest.approx(scores(dict.fromkeys(QUALITY, 0.7))["quality_score"]),
    }


def test_a_prompt_with_a_length_is_filmed_once_a_tier(paper, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"id": "b", "prompts": ["a den"], "frames": 30}) + "\n", encoding="utf-8")
    suite = VbenchLong()
    suite.take(path)
    assert [task.frames for task in suite.tasks(paper, "full")] == [30]
