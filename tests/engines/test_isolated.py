"""Cells of cost suites: each runs in its own process, last and alone, and every outcome is recorded."""

import json
import threading
from dataclasses import asdict, replace

import pytest
import torch

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import Arm, Cell, cells
from harness.engines import isolated as measuring
from harness.engines.inline import run
from harness.engines.isolated import Outcome, measured, observed
from harness.engines.sharing.devices import key
from harness.pocket.preset import pocket
from harness.store.claims import alone
from harness.store.store import Store
from harness.suite import Sample
from suites.fps import Fps
from suites.latency import Latency
from suites.vram import Vram
from tests.toy import Toy, backbone


def cell(suite, strategy="memrope", frames=24):
    made = registry.strategy(strategy)
    task = replace(suite.tasks(pocket(), "quick")[0], frames=frames)
    row = replace(task.rows[0], script=tuple(part for part in task.rows[0].script if part[0] < frames))
    task = replace(task, rows=(row,), boundaries=task.boundaries[: len(row.script)])
    return Cell("a" * 16, Arm(strategy, made, ("as published",), weights=made.weights(pocket())), suite, task)


def test_a_process_of_its_own_measures_and_tells_where():
    outcome = measured(cell(Fps()), pocket())
    assert (outcome.status, outcome.reason) == ("ok", "")
    found = {}
    for sample in outcome.samples:
        found.setdefault(sample.metric, []).append(sample)
    assert [sample.at_frame for sample in found["chunk_seconds"]] == list(range(3, 25, 3))
    # Imports alone take that long, and they are in it.
    assert found["start_seconds"][0].value > 0.3
    assert found["whole_seconds"][0].value > found["start_seconds"][0].value
    assert outcome.machine["threads"] == torch.get_num_threads()
    assert outcome.machine["attention"].startswith("sdpa:")


@pytest.mark.nightly
def test_what_a_memory_holds_is_what_was_planned():
    made = cell(Vram(), "echo_infinity", 60)
    samples = Vram().measure(pocket(), made.arm.strategy, made.task, 0.0)
    by = {sample.metric: sample.value for sample in samples}
    assert by["cache_bytes"] == by["planned_cache_bytes"]
    assert by["peak_bytes"] == pytest.approx(by["planned_peak_bytes"], rel=0.05)
    assert by["bound_seconds"] > 0


def test_waits_after_a_switch_are_told_apart():
    made = cell(Latency(), frames=300)
    script = ((0, "a disc"), (99, "a cross"), (201, "a disc"))
    task = replace(made.task, rows=(replace(made.task.rows[0], script=script),), boundaries=("smooth",) * 3)
    samples = Latency().measure(pocket(), made.arm.strategy, task, 0.0)
    assert [sample.at_frame for sample in samples if sample.metric == "switch_seconds"] == [102, 204]
    assert sum(sample.metric == "chunk_seconds" for sample in samples) == 100 - 1 - 2


def test_a_video_that_is_none_has_no_speed():
    still = pocket()
    with torch.no_grad():
        frozen = cell(Fps())
        broken = replace(still, model=registry.backbone("pocket").model)
        broken.model.head.head.weight.fill_(float("nan"))
    from harness.errors import MeasurementError, NotFiniteError
    from suites import cost_suite as clocked

    with pytest.raises(NotFiniteError, match="latents are not finite"):
        Fps().measure(broken, frozen.arm.strategy, frozen.task, 0.0)
    last = torch.randn(1, 3, 4, 2, 2)
    with pytest.raises(MeasurementError, match="what was drawn is frozen"):
        clocked._check(last, last + 1e-6)
    clocked._check(last, last + 1)


def test_what_goes_wrong_in_the_process_is_the_cells_status(tmp_path, monkeypatch):
    made = cell(Fps())
    job = {
        "backbone": asdict(pocket().request()), "strategy": "memrope", "suite": "fps", "threads": 1,
        "knobs": {**made.arm.strategy.knobs(), "window": 4},
        "task": {"scenario": "stream", "frames": 24, "given": 0, "forced": False, "boundaries": ["smooth"],
                 "rows": [{"seed": 0, "script": [[0, "a"]]}]},
    }  # fmt: skip
    asked, answer = tmp_path / "asked.json", tmp_path / "told.json"
    asked.write_text(json.dumps(job), encoding="utf-8")
    monkeypatch.setattr(measuring, "pin", lambda threads: [])
    measuring.main(asked, answer, 0.0)
    told = json.loads(answer.read_text(encoding="utf-8"))
    assert told["status"] == "failed"
    assert "window 4 is smaller than" in told["reason"]
    assert told["samples"] == []
    assert measured(made, pocket(), timeout=0.2).status == "timeout"
    outcome = measured(replace(made, suite=replace_name(Fps(), "nothing")), pocket())
    assert outcome.status == "failed"
    assert "nothing" in outcome.reason


def replace_name(suite, name):
    suite.name = name
    return suite


class Costly(Fps):
    """One that would be measured, were it not for the test."""

    name = "costly"
    tiers = ("quick",)


@pytest.fixture
def registered(monkeypatch):
    kinds = {"toy": Toy, "costly": Costly}
    true = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: kinds.get(name) or true(group, name))


def test_cost_comes_last_repeat_by_repeat_and_by_chance(registered):
    stage = backbone(trained_frames=30)
    campaign = make_campaign(
        {"suites": ["costly", "toy"], "strategies": ["memrope", "sliding_window", "attention_sink"]}
    )
    planned = cells(campaign, stage)
    kinds = [cell.suite.name for cell in planned]
    assert kinds == sorted(kinds, reverse=True)
    cost = [cell for cell in planned if cell.suite.name == "costly"]
    seeds = [cell.task.rows[0].seed for cell in cost]
    assert seeds == sorted(seeds)
    arms = len({cell.arm.label for cell in cost})
    rounds = [[cell.arm.label for cell in cost[n : n + arms]] for n in range(0, len(cost), arms)]
    assert all(sorted(each) == sorted(rounds[0]) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert [cell.id for cell in planned] == [cell.id for cell in cells(campaign, stage)]


def test_nothing_else_of_the_campaign_runs_while_one_is_measured(registered, monkeypatch, tmp_path):
    stage = backbone(trained_frames=30)
    planned = cells(make_campaign({"suites": ["costly", "toy"], "strategies": ["memrope"]}), stage)
    store = Store(tmp_path / "run")
    (tmp_path / "run/flight").mkdir(parents=True)
    (tmp_path / "run/cells").mkdir()
    busy, seen = threading.Lock(), []

    def measure(cell, backbone, timeout, place):
        assert busy.acquire(blocking=False), "two at once"
        with store.claim(alone(key(torch.device("cpu")))) as mine:
            assert not mine
        # All that is looked at rather than measured is there by now.
        assert all(store.find(each.id) for each in planned if each.suite.name == "toy")
        seen.append(cell.id)
        busy.release()
        return Outcome("ok", "", [Sample(0, "chunk_seconds", 3, 1.0)], {"threads": 1})

    monkeypatch.setattr("harness.engines.inline.measured", measure)
    workers = [threading.Thread(target=run, args=(store, stage, planned)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cost = [cell.id for cell in planned if cell.suite.name == "costly"]
    assert sorted(seen) == sorted(cost)
    assert store.find(cost[0]).about["machine"] == {"threads": 1}


@pytest.mark.parametrize("kind", [Fps, Latency, Vram])
def test_the_hook_between_chunks_is_called_after_every_chunk_that_is_drawn(kind):
    made = cell(kind())
    turns = []
    outcome = observed(
        lambda: (made.suite, pocket(), made.arm.strategy), made.task, between_chunks=lambda: turns.append(1)
    )
    assert outcome.status == "ok"
    # A short video of three chunks warms the process up in two of the suites.
    assert len(turns) == 8 + (0 if kind is Fps else 3)


def test_what_happens_between_chunks_is_not_timed(monkeypatch):
    """On a clock that only goes on between chunks, nothing takes any time."""
    made, now = cell(Fps()), [0]

    def second():
        now[0] += 10**9

    monkeypatch.setattr("harness.measure.meter.time.perf_counter_ns", lambda: now[0])
    samples = Fps().measure(pocket(), made.arm.strategy, made.task, 0.0, between_chunks=second)
    seconds = [sample.value for sample in samples if sample.metric in ("chunk_seconds", "decode_seconds")]
    assert seconds == [0.0] * 16
    assert now == [8 * 10**9]


def test_a_suite_without_the_keyword_is_measured_whole():
    class Older(Fps):
        def measure(self, backbone, strategy, task, began):
            return super().measure(backbone, strategy, task, began)

    class Passing(Fps):
        def measure(self, *given, **more):
            return super().measure(*given, **more)

    made = cell(Fps(), frames=6)
    for kind, expected in ((Older, 0), (Passing, 2)):
        turns = []
        outcome = observed(
            lambda kind=kind: (kind(), pocket(), made.arm.strategy),
            made.task,
            between_chunks=lambda turns=turns: turns.append(1),
        )
        assert (outcome.status, len(turns)) == ("ok", expected)
        assert {sample.metric for sample in outcome.samples} >= {"chunk_seconds", "whole_seconds"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; there is none here")
@pytest.mark.parametrize("suite", [Fps(), Latency(), Vram()])
def test_on_a_gpu_the_same_cells_are_measured_there(suite):
    stage = pocket("cuda")
    outcome = measured(cell(suite, frames=60), stage)
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert outcome.machine["sm_mhz"]["high"] > 0
    names = {sample.metric for sample in outcome.samples}
    assert ("allocated_bytes" in names) == (suite.name == "vram")
    assert all(sample.value >= 0 for sample in outcome.samples)
