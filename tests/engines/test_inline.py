import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells
from harness.engines import inline as executor
from harness.engines.inline import run
from harness.errors import StoreError
from harness.store.store import Store
from tests import toy
from tests.full_disk import no_file_above


@pytest.fixture(scope="module")
def backbone():
    return toy.backbone(trained_frames=9)


@pytest.fixture
def planned(backbone, monkeypatch):
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: toy.Toy if name == "toy" else load(group, name))
    asked = {"strategies": ("memrope", "full", "infinity_rope"), "suites": ("toy",), "equal_budget": 0}
    return cells(make_campaign(asked), backbone)


def begun(folder, planned):
    store = Store(folder)
    asked = {**toy.ASKED, "cells": [cell.id for cell in planned]}
    store.begin({"name": "x", "asked": asked, "environment": {}})
    return store


def content(store):
    """Everything that is not a time."""
    return {
        cell.id: (cell.status, cell.samples(), {name: x.tobytes() for name, x in cell.pictures().items()})
        for cell in store.cells()
    }


@pytest.fixture
def undisturbed(tmp_path, backbone, planned):
    store = begun(tmp_path / "undisturbed", planned)
    run(store, backbone, planned)
    return content(store)


def test_every_cell_gets_its_record(tmp_path, backbone, planned):
    store, told, frames = begun(tmp_path / "x", planned), [], []
    run(store, backbone, planned, done=lambda *what: told.append(what[1]), report=lambda p: frames.append(p.frames))
    assert told == [store.find(cell.id).status for cell in planned]
    assert sorted(told) == ["ok"] * 5 + ["skipped"] * 2
    skipped = next(cell for cell in store.cells() if cell.status == "skipped")
    assert "beyond the 9 latent frames of its training" in skipped.about["reason"]
    assert skipped.samples() == []
    done = next(cell for cell in store.cells() if cell.about["task"]["scenario"] == "turn" and cell.status == "ok")
    # The given frames are seen, too.
    assert [sample.at_frame for sample in done.samples()] == [3, 6, 9, 12, 15, 18]
    assert done.about["cost"]["chunk_ms"] > 0
    assert done.about["cost"]["cache_bytes"] > 0
    assert sum(frames) == sum(
        (cell.task.frames - cell.task.given) * len(cell.task.rows) for cell in planned if cell.skip is None
    )


def test_a_second_run_does_nothing(tmp_path, backbone, planned, monkeypatch):
    store = begun(tmp_path / "x", planned)
    run(store, backbone, planned)
    monkeypatch.setattr(executor, "run_cell", None)
    told = []
    run(store, backbone, planned, done=lambda *what: told.append(what[1]))
    assert len(told) == len(planned)


@pytest.mark.parametrize("dies_after", [1, 2, 5, 9, 12])
def test_a_cell_goes_on_where_it_was_saved_with_the_same_bits(tmp_path, backbone, planned, undisturbed, dies_after):
    store, seen = begun(tmp_path / "x", planned), []

    def die(step):
        seen.append(step)
        if len(seen) == dies_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, backbone, planned, save_every=0, report=die)
    again = []
    run(store, backbone, planned, save_every=0, report=again.append)
    assert content(store) == undisturbed
    # At most the chunk in flight was computed again.
    whole = sum((c.task.frames - c.task.given) // 3 for c in planned if c.skip is None)
    assert len(seen) + len(again) <= whole + 1


@pytest.mark.parametrize("dies_after", [3, 7, 9])
def test_a_cell_goes_on_with_its_archive_which_is_written_once(tmp_path, backbone, monkeypatch, dies_after):
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: toy.Toy if name == "toy" else load(group, name))
    asked = {"strategies": ("longlive_rag.window=6,memory=2,exclude=0",), "suites": ("toy",), "equal_budget": 0}
    (planned,) = (c for c in cells(make_campaign(asked), backbone) if c.task.scenario == "plain")
    peace, store, seen = begun(tmp_path / "peace", [planned]), begun(tmp_path / "x", [planned]), []
    run(peace, backbone, [planned])
    pieces = {}

    def die(step):
        seen.append(step)
        for path in (store.flight / f"{planned.id}.archive").glob("*"):
            assert pieces.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        if len(seen) == dies_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, backbone, [planned], save_every=0, report=die)
    before = set(pieces)
    assert len(before) == dies_after - 1
    run(store, backbone, [planned], save_every=0, report=die)
    assert before < set(pieces)
    # Chunks that were done are not done again, and what was needed to go on is gone.
    assert len(seen) <= planned.task.frames // 3 + 1
    assert content(store) == content(peace)
    assert sorted(path.name for path in store.flight.iterdir()) == sorted(
        [f"{planned.id}.lock", "claims", "manifest.lock"]
    )
    assert not list((store.flight / "claims").iterdir())
    cost = store.find(planned.id).about["cost"]
    assert cost["archive_bytes"] == planned.arm.strategy.archive_bytes(backbone.memory_spec(), 30) > 0


def test_two_processes_share_the_work(tmp_path, backbone, planned, undisturbed):
    store, by = begun(tmp_path / "x", planned), {0: set(), 1: set()}

    def work(number):
        run(store, backbone, planned, report=lambda step: by[number].add(step.cell.id))

    threads = [threading.Thread(target=work, args=(number,)) for number in by]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(store) == undisturbed
    assert not by[0] & by[1]


def test_a_cell_of_another_process_is_told_as_soon_as_it_is_finished(tmp_path, backbone, planned, monkeypatch):
    monkeypatch.setattr(executor, "POLL", 0)
    store, told = begun(tmp_path / "x", planned), []
    first, *rest = (cell for cell in planned if cell.skip is None)

    def report(step):
        # The other process finishes its cell while this one is at its second one.
        if step.cell is rest[1] and store.find(first.id) is None:
            other.close()
            run(Store(store.folder), backbone, [first])

    with ExitStack() as other:
        assert other.enter_context(store.claim(first.id, {}))
        run(store, backbone, [first, *rest], report=report, done=lambda cell, *_: told.append(cell.id))
    assert told == [cell.id for cell in (rest[0], rest[1], first, *rest[2:])]


class Broken(toy.Watch):
    error: BaseException = ValueError("what now\nand more")

    def see(self, latents, start):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("what now\nand more"), "failed", "ValueError: what now"),
        (MemoryError("all gone"), "oom", "all gone"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "oom", "not enough memory"),
        (RuntimeError("odd"), "failed", "RuntimeError: odd"),
    ],
)
def test_what_goes_wrong_has_a_status_and_a_reason_and_the_rest_goes_on(
    tmp_path, backbone, planned, monkeypatch, error, status, reason
):
    monkeypatch.setattr(Broken, "error", error)
    observer = toy.Toy.observer
    monkeypatch.setattr(
        toy.Toy,
        "observer",
        lambda self, b, task, f: Broken(task) if task.scenario == "turn" else observer(self, b, task, f),
    )
    store = begun(tmp_path / "x", planned)
    run(store, backbone, planned)
    for cell in planned:
        found = store.find(cell.id)
        if cell.skip is None:
            assert found.status == (status if cell.task.scenario == "turn" else "ok")
        if found.status == status:
            assert reason in found.about["reason"]
            assert "\n" not in found.about["reason"]
    monkeypatch.undo()
    run(store, backbone, planned, retry=(status,))
    assert {store.find(cell.id).status for cell in planned} == {"ok", "skipped"}


def test_numbers_that_are_none(tmp_path, planned):
    sick = toy.backbone(trained_frames=9)
    sick.model.head.head.weight.data.fill_(torch.nan)
    store = begun(tmp_path / "x", planned)
    run(store, sick, planned)
    found = [store.find(cell.id) for cell in planned if cell.skip is None]
    assert {cell.status for cell in found} == {"nan"}
    assert all(cell.samples() == [] for cell in found)
    assert "latents are not finite from latent frame" in found[0].about["reason"]


def test_a_cell_has_only_so_much_time(tmp_path, backbone, planned):
    store = begun(tmp_path / "x", planned)
    run(store, backbone, planned, timeout=0)
    found = store.find(planned[0].id)
    assert found.status == "timeout"
    assert "longer than 0 s; 0 of 30 latent frames were done" in found.about["reason"]


class Prepared:
    """A text encoder that notes what it is asked, and when."""

    def __init__(self):
        self.said = []

    def __call__(self, prompts):
        self.said.append(("encode", list(prompts)))
        return toy.encode(prompts)

    def ready(self, prompts):
        self.said.append(("ready", list(prompts)))


def test_prompts_of_all_cells_are_made_ready_once_before_the_first_frame(tmp_path, backbone, planned):
    text = Prepared()
    told = replace(backbone, text=text)
    store = begun(tmp_path / "x", planned)
    run(store, told, planned)
    kinds = [kind for kind, _ in text.said]
    assert kinds.index("encode") == 1
    assert kinds.count("ready") == 1
    asked = {prompt for _, prompts in text.said[1:] for prompt in prompts}
    assert set(text.said[0][1]) == asked
    # What is there needs no prompt.
    text.said.clear()
    run(store, told, planned)
    assert text.said == [("ready", [])]


def test_a_number_that_is_not_finite_is_a_status_and_no_record(tmp_path, backbone, planned, monkeypatch):
    def broken(self):
        return [*self.taken[:-1], self.taken[-1]._replace(value=float("nan"))]

    monkeypatch.setattr(toy.Watch, "samples", broken)
    store = begun(tmp_path / "x", planned[:1])
    run(store, backbone, planned[:1])
    found = store.find(planned[0].id)
    assert (found.status, found.samples()) == ("nan", [])
    assert found.about["reason"] == "level of rollout 1 is nan at latent frame 30"


def test_states_that_find_no_room_are_told_and_the_cells_are_finished_all_the_same(
    tmp_path, backbone, planned, undisturbed
):
    store, told = begun(tmp_path / "x", planned), []
    with no_file_above(10_000):
        run(store, backbone, planned, save_every=0, report=lambda step: told.append(step.trouble))
    assert content(store) == undisturbed
    (trouble,) = set(told) - {""}
    flight = tmp_path / "x" / "flight"
    assert trouble == (
        f"states of unfinished cells cannot be saved in {flight} (File too large); the run continues without them"
    )
    assert not list(flight.glob("*.pt"))


def test_what_failed_for_want_of_room_is_run_again_once_there_is_some(tmp_path, backbone, planned, undisturbed):
    store = begun(tmp_path / "x", planned)
    with no_file_above(600), pytest.raises(StoreError, match=r"File too large; make room there and run the same com"):
        run(store, backbone, planned)
    assert {cell.status for cell in store.cells()} <= {"ok", "skipped"}
    run(store, backbone, planned)
    assert content(store) == undisturbed


class Full(toy.Toy):
    def observer(self, backbone, task, place):
        raise OSError(28, "No space left on device", str(place.folder / "0.mp4"))


def test_a_suite_whose_files_find_no_room_is_not_at_fault(tmp_path, backbone, planned):
    store, cell = begun(tmp_path / "x", planned), next(cell for cell in planned if cell.skip is None)
    with pytest.raises(StoreError, match=r"0.mp4: No space left on device; make room there"):
        run(store, backbone, [replace(cell, suite=Full())])
    assert store.find(cell.id) is None
