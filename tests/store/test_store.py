import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import StoreError
from harness.films.contract import Film, check_file, shard
from harness.films.view_files import Part, View, add, views
from harness.store.cells import CELL, RECORD
from harness.store.manifest import content_id
from harness.store.merging import merge
from harness.store.store import MANIFEST, Store
from harness.suite import Sample
from tests.toy import ABOUT, ASKED

SAMPLES = [Sample(0, "level", 3, 0.5), Sample(0, "level", 6, None)]


def manifest(cells=("a",), labels=("full",), **changes):
    arms = [{"label": label, "strategy": label, "knobs": {}, "tables": ["as published"]} for label in labels]
    return {"name": "x", "asked": {**ASKED, "arms": arms, "cells": list(cells), **changes}, "environment": {}}


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "x")
    made.begin(manifest())
    return made


def test_a_name_depends_on_content_and_on_nothing_else():
    assert content_id({"a": 1, "b": [1, 2]}) == content_id({"b": (1, 2), "a": 1})
    assert content_id({"a": 1}) != content_id({"a": 2})
    assert len(content_id({})) == 16


def test_what_is_finished_is_read_back(store):
    store.finish("a", ABOUT, SAMPLES, {"first": np.ones((2, 3), np.uint8)})
    found = store.find("a")
    assert found.status == "ok"
    assert found.samples() == SAMPLES
    assert found.pictures()["first"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert [cell.id for cell in store.cells()] == ["a"]
    assert store.find("b") is None


def test_a_failed_cell_is_replaced_and_its_flight_is_over(store):
    store.save("a", {"x": torch.ones(2)})
    assert torch.equal(store.saved("a")["x"], torch.ones(2))
    store.finish("a", {**ABOUT, "status": "failed", "reason": "no"}, (), {})
    store.finish("a", ABOUT, SAMPLES, {})
    assert store.find("a").status == "ok"
    assert store.saved("a") is None
    assert [path.name for path in (store.folder / "cells").iterdir()] == ["a"]


def test_a_state_that_cannot_be_read_is_none(store):
    (store.folder / "flight" / "a.pt").write_bytes(b"half of it")
    assert store.saved("a") is None


STRIP, FRAMES = np.zeros((1, 2, 3, 8, 8), np.uint8), np.arange(2)


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        ({"strip": np.zeros((), np.uint8), "frames": FRAMES}, r"strip has the shape \(\), not \(rollouts, pictures, 3"),
        ({"strip": STRIP[0], "frames": FRAMES}, r"strip has the shape \(2, 3, 8, 8\)"),
        ({"strip": STRIP[:0], "frames": FRAMES}, r"strip has the shape \(0, 2"),
        ({"strip": STRIP[:, :, :2], "frames": FRAMES}, r"strip has the shape \(1, 2, 2"),
        ({"strip": STRIP}, "frames does not have one latent frame per picture"),
        ({"strip": STRIP, "frames": FRAMES[0]}, "frames does not have one latent frame per picture"),
        ({"strip": STRIP.astype(np.longdouble), "frames": FRAMES}, "strip.npy does not hold numbers"),
        ({"other": STRIP.astype(complex)}, "other.npy does not hold numbers"),
    ],
)
def test_pictures_that_cannot_be_shown_are_refused(store, pictures, says):
    store.finish("a", ABOUT, SAMPLES, pictures)
    for look in (store.find("a").pictures, store.find("a").check_pictures):
        with pytest.raises(StoreError, match=rf"pictures.npz: not pictures written by Horizon \({says}"):
            look()


def test_nothing_half_written_is_seen(store, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", die)
    with pytest.raises(KeyboardInterrupt):
        store.finish("a", ABOUT, SAMPLES, {"strip": np.ones(2)})
    assert store.find("a") is None
    assert list(store.cells()) == []


def test_what_killed_processes_left_of_a_cell_goes_with_its_next_end(store):
    store.finish("a", ABOUT, SAMPLES, {})
    half, old = store.flight / "a.new" / "0123", store.flight / "a.old"
    for left in (half, old):
        left.mkdir(parents=True)
        (left / RECORD).write_text("half", encoding="utf-8")
    store.finish("a", ABOUT, SAMPLES, {})
    assert sorted(path.name for path in store.flight.glob("a.*") if path.is_dir()) == []
    assert [path.name for path in (store.folder / "cells").iterdir()] == ["a"]
    assert store.find("a").samples() == SAMPLES


def test_the_end_of_a_cell_does_not_look_at_the_others(store, monkeypatch):
    """With 100,000 cells, listing their folder took longer than writing one."""
    listed, list_folder = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(str(path)) or list_folder(path))
    store.finish("a", ABOUT, SAMPLES, {})
    assert (store.folder / "cells" / "a" / CELL).is_file()
    assert str(store.folder / "cells") not in listed


def budgeted(label, tables, budget, note=None):
    arm = {"label": label, "strategy": label, "knobs": {}, "tables": tables, "budget_bytes": budget}
    return {"name": "x", "asked": {**ASKED, "arms": [arm | {"budget_note": note}], "cells": []}, "environment": {}}


def test_what_was_said_of_a_budget_stays(store):
    store.begin(budgeted("full", ["as published"], 900, "it grows"))
    store.begin(budgeted("full", ["as published"], None))
    (arm,) = store.manifest()["asked"]["arms"]
    assert (arm["tables"], arm["budget_bytes"], arm["budget_note"]) == (["as published"], 900, "it grows")
    store.begin(budgeted("mine", ["as published"], None))
    whole = store.begin(budgeted("mine", ["equal budget"], 900, "holds less"))
    _, arm = whole["asked"]["arms"]
    assert (arm["tables"], arm["budget_bytes"]) == (["as published", "equal budget"], 900)
    assert arm["budget_note"] == "holds less"


def test_a_folder_has_one_equal_budget(store):
    store.begin(budgeted("mine", ["equal budget"], 900))
    with pytest.raises(StoreError, match="holds arms at an equal budget of 900 bytes, not 1,800; give --out another"):
        store.begin(budgeted("other", ["equal budget"], 1800))


def test_arms_and_cells_may_be_added_but_nothing_else_may_change(store):
    whole = store.begin(manifest(("a", "b"), ("full", "mine")))
    assert whole["asked"]["cells"] == ["a", "b"]
    assert [arm["label"] for arm in whole["asked"]["arms"]] == ["full", "mine"]
    assert store.begin(manifest())["asked"] == whole["asked"]
    with pytest.raises(StoreError, match=r"holds another campaign: its tier is \"quick\", not \"full\"; give --out"):
        store.begin(manifest(tier="full"))


def test_a_folder_holds_cells_of_one_way_of_running(store):
    store.begin(manifest())
    # A manifest that does not name it was made without compilation.
    assert store.begin(manifest(compile="off"))
    with pytest.raises(
        StoreError, match=r"another campaign: its compile is \"off\", not \"graphs\"; give --out another"
    ):
        store.begin(manifest(compile="graphs"))


def _hold(folder, ready, go):
    with Store(folder).claim("a") as mine:
        ready.put(mine)
        go.get()


def test_a_cell_belongs_to_one_process_and_a_dead_one_has_nothing(store):
    context = multiprocessing.get_context("spawn")
    ready, go = context.Queue(), context.Queue()
    holder = context.Process(target=_hold, args=(store.folder, ready, go))
    holder.start()
    assert ready.get(timeout=60) is True
    with store.claim("a") as mine:
        assert not mine
    with store.claim("b") as mine:
        assert mine
    holder.kill()
    holder.join()
    with store.claim("a") as mine:
        assert mine


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (MANIFEST, "{", "manifest.json: cannot be read"),
        (MANIFEST, "[]", "not written by Horizon"),
        (MANIFEST, '{"format": 99}', "format 99, this Horizon reads 2"),
        (MANIFEST, None, "no campaign there; make one with: horizon run"),
    ],
)
def test_a_manifest_that_cannot_be_read(store, name, text, says):
    path = store.folder / name
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=says):
        store.manifest()


@pytest.mark.parametrize("text", ["nonsense", '{"a": 1}\n', "[1, 2]\n", "[[]"])
def test_a_record_that_cannot_be_read(store, text):
    store.finish("a", ABOUT, SAMPLES, {})
    (store.folder / "cells" / "a" / RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"not a record of Horizon .*; move .* away and run the same command again"):
        store.find("a").samples()


def test_a_cell_that_cannot_be_read(store):
    store.finish("a", ABOUT, SAMPLES, {})
    (store.folder / "cells" / "a" / CELL).write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cell.json: cannot be read .*; move .* away and run the same command again"):
        store.find("a")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cannot write to .*; give --out another place"):
        Store(tmp_path / "file").begin(manifest())


def filled(folder, cells, samples=SAMPLES, status="ok", more=None, **changes):
    store = Store(folder)
    store.begin(manifest(cells, **changes))
    for cell in cells:
        store.finish(cell, {**ABOUT, "status": status, **(more or {})}, samples if status == "ok" else (), {})
    return folder


def test_folders_of_several_machines_go_together(tmp_path):
    one = filled(tmp_path / "1", ["a", "b"])
    two = filled(tmp_path / "2", ["b", "c"])
    failed = filled(tmp_path / "3", ["c", "d"], status="failed")
    assert merge(tmp_path / "all", [one, two, failed]) == (4, [])
    found = {cell.id: cell.status for cell in Store(tmp_path / "all").cells()}
    assert found == {"a": "ok", "b": "ok", "c": "ok", "d": "failed"}
    assert json.loads((tmp_path / "all" / MANIFEST).read_text(encoding="utf-8"))["asked"]["cells"] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert merge(tmp_path / "all", [one]) == (0, [])


def test_a_conflict_is_refused_before_anything_is_copied(tmp_path):
    one, two = filled(tmp_path / "1", ["a", "b"]), filled(tmp_path / "2", ["b"], [Sample(0, "level", 3, 0.7)])
    with pytest.raises(StoreError, match="cell b has different samples"):
        merge(tmp_path / "all", [one, two])
    assert not (tmp_path / "all").exists()
    times = [
        filled(tmp_path / name, ["t"], [Sample(0, "level", 3, x)], more={"machine": {}})
        for name, x in (("4", 1.0), ("5", 2.0))
    ]
    with pytest.raises(
        StoreError, match=r"cell t was measured both in .* cannot be combined; move one of the two away"
    ):
        merge(tmp_path / "all", times)
    other = filled(tmp_path / "3", ["a"], tier="full")
    with pytest.raises(StoreError, match="holds another campaign: its tier"):
        merge(tmp_path / "all", [one, other])


def film(store, cell="a", name="0.mp4", content=b"a film"):
    store.workspace(cell).mkdir(parents=True, exist_ok=True)
    (store.workspace(cell) / name).write_bytes(content)


def test_files_of_a_cell_are_finished_with_it(store):
    film(store)
    film(store, name="0.0000.part.mp4", content=b"a piece")
    store.finish("a", ABOUT, SAMPLES, {})
    found = store.find("a")
    assert [path.name for path in found.files()] == ["0.mp4"]
    assert found.about["files"] == {"0.mp4": hashlib.sha256(b"a film").hexdigest()}
    assert not store.workspace("a").exists()
    store.finish("b", ABOUT, SAMPLES, {})
    assert store.find("b").files() == []
    assert "files" not in store.find("b").about


def test_what_a_failed_cell_had_filmed_is_kept(store):
    film(store, name="0.0000.part.mp4", content=b"a piece")
    store.finish("a", {**ABOUT, "status": "nan"}, (), {})
    assert [path.name for path in store.find("a").files()] == ["0.0000.part.mp4"]


def test_a_kill_before_a_cell_is_there_leaves_its_files_where_they_were(store, monkeypatch):
    film(store)
    film(store, name="0.0000.part.mp4")
    store.save("a", {"x": torch.ones(1)})

    def killed(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.finish("a", ABOUT, SAMPLES, {})
    assert store.find("a") is None
    assert store.saved("a") is not None
    assert sorted(path.name for path in store.workspace("a").iterdir()) == ["0.0000.part.mp4", "0.mp4"]
    store.finish("a", ABOUT, SAMPLES, {})
    assert [path.name for path in store.find("a").files()] == ["0.mp4"]


def test_files_go_with_their_cell_where_folders_are_merged(tmp_path):
    parts = [Store(tmp_path / name) for name in ("one", "two")]
    for part, cell in zip(parts, ("a", "b"), strict=True):
        part.begin(manifest(cells=("a", "b")))
        film(part, cell, content=cell.encode())
        part.finish(cell, ABOUT, SAMPLES, {})
    assert merge(tmp_path / "all", [part.folder for part in parts]) == (2, [])
    found = {cell.id: cell.files()[0].read_bytes() for cell in Store(tmp_path / "all").cells()}
    assert found == {"a": b"a", "b": b"b"}
    assert all(cell.files() for part in parts for cell in part.cells())


def test_files_are_copied_where_there_are_no_links(store, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    film(store)
    store.finish("a", ABOUT, SAMPLES, {})
    assert store.find("a").files()[0].read_bytes() == b"a film"


def test_a_cell_that_failed_goes_on_from_its_last_state(store):
    film(store, name="0.0000.part.mp4", content=b"a piece")
    store.save("a", {"x": torch.ones(1)})
    store.finish("a", {**ABOUT, "status": "failed"}, (), {})
    assert torch.equal(store.saved("a")["x"], torch.ones(1))
    assert [path.name for path in store.workspace("a").iterdir()] == ["0.0000.part.mp4"]
    film(store)
    store.finish("a", ABOUT, SAMPLES, {})
    assert store.saved("a") is None
    assert [path.name for path in store.find("a").files()] == ["0.mp4"]


SUM = hashlib.sha256(b"a film").hexdigest()


def filmed(folder, cell="a", content=b"a film"):
    """A folder of a campaign of the cells a and b, one of which is finished and has a film."""
    part = Store(folder)
    part.begin(manifest(cells=("a", "b")))
    film(part, cell, content=content)
    part.finish(cell, ABOUT, SAMPLES, {})
    return part.folder


def saw(folder, id, metric, part, sum=SUM, how=()):
    add(folder, "perceptual", View(id, sum), metric, part, {"model": "m", **dict(how)})


def seen_there(folder):
    return {view.film: {name: part.samples for name, part in view.parts.items()} for _, view in views(folder)}


def test_what_viewers_saw_goes_with_the_films(tmp_path):
    parts = [filmed(tmp_path / "one"), filmed(tmp_path / "two", "b")]
    for part, cell in zip(parts, ("a", "b"), strict=True):
        saw(part, f"{cell}-0", "dino", Part(((3, 0.5),)))
    # Of a film that both have seen, what one could not see does not hide what the other saw.
    saw(parts[0], "b-0", "dino", Part(skipped="no weights"))
    saw(parts[0], "b-0", "clip", Part(((3, 0.25),)))
    assert merge(tmp_path / "all", parts) == (2, [])
    assert seen_there(tmp_path / "all") == {
        "a-0": {"dino": ((3, 0.5),)},
        "b-0": {"dino": ((3, 0.5),), "clip": ((3, 0.25),)},
    }


@pytest.mark.parametrize("content", [b"a film", b"the same film, coded elsewhere"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_merged_folders_does_not_matter(tmp_path, turned, content):
    without, seen = filmed(tmp_path / "without", content=content), filmed(tmp_path / "seen")
    saw(seen, "a-0", "dino", Part(((3, 0.5),)))
    assert merge(tmp_path / "all", [seen, without] if turned else [without, seen]) == (1, [])
    assert seen_there(tmp_path / "all") == {"a-0": {"dino": ((3, 0.5),)}}
    assert Store(tmp_path / "all").find("a").files()[0].read_bytes() == b"a film"


@pytest.mark.parametrize("turned", [False, True])
def test_a_merge_names_what_it_cannot_keep(tmp_path, turned):
    other = b"the same film, coded elsewhere"
    more, less, same = filmed(tmp_path / "more"), filmed(tmp_path / "less", content=other), filmed(tmp_path / "same")
    saw(more, "a-0", "dino", Part(((3, 0.5),)))
    saw(more, "a-0", "clip", Part(((3, 0.5),)))
    saw(less, "a-0", "dino", Part(((3, 0.7),)), hashlib.sha256(other).hexdigest())
    saw(same, "a-0", "dino", Part(((3, 0.6),)), how={"model": "n"})
    folders = [more, less, same]
    came, left = merge(tmp_path / "all", folders[::-1] if turned else folders)
    assert came == 1
    assert sorted(left) == [
        "perceptual: one of two differing values of dino in a-0",
        f"perceptual: the view of a-0 in {less}, because the film there is another file",
    ]
    assert seen_there(tmp_path / "all") == {"a-0": {"dino": ((3, 0.6),), "clip": ((3, 0.5),)}}


def test_a_film_that_was_changed_is_told_with_what_helps(tmp_path):
    path = filmed(tmp_path) / "cells/a/files/0.mp4"
    one = Film("a-0", path, SUM, "drift", "steady", 9, 16.0, 9, (), ())
    check_file(one)
    path.write_bytes(b"another")
    with pytest.raises(StoreError, match=r"changed after its cell was finished; restore it, or move .*cells/a out of"):
        check_file(one)


def test_two_viewers_of_one_film_do_not_lose_each_other_s_metrics(tmp_path):
    view = View("a-0", "0" * 64)
    add(tmp_path, "perceptual", view, "dino", Part(((3, 0.5),)), {})
    add(tmp_path, "perceptual", view, "clip", Part(((3, 0.5),)), {})
    ((_, found),) = views(tmp_path)
    assert set(found.parts) == {"dino", "clip"}


def test_parts_of_a_list_do_not_move_when_it_grows():
    films = [Film(f"{number:016x}-0", Path("x"), "", "drift", "steady", 9, 16.0, 9, (), ()) for number in range(40)]
    few = [{film.id for film in shard(films[:20], f"{part}/3")} for part in (1, 2, 3)]
    all_ = [{film.id for film in shard(films, f"{part}/3")} for part in (1, 2, 3)]
    assert all(small <= large for small, large in zip(few, all_, strict=True))
    assert set.union(*all_) == {film.id for film in films}
    assert sum(map(len, all_)) == 40
    assert all(all_)
