"""Folders that come from elsewhere: their links lead nowhere, and their names are names."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import cli
from harness.errors import StoreError
from harness.files import no_links, own
from harness.films.view_files import Part, View, add
from harness.gate.rounds import Rounds
from harness.store.claims import claim, held
from harness.store.merging import merge
from harness.store.store import Store
from reports.report import render
from tests.bad_inputs.made import CELL, campaign, with_view

SECRET = "what is nobody's business"


@pytest.fixture
def victim(tmp_path):
    """A folder of the user's with a file in it; at the end both must be as they were."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "file").write_text(SECRET, encoding="utf-8")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text(encoding="utf-8") == SECRET


@pytest.fixture
def made(tmp_path):
    return campaign(tmp_path / "x")


def linked(place, target):
    """Put a link where something may be."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


PAGES = ("report.md", "report.html", "table.csv", "pairs.csv", "records.parquet")


def test_a_link_in_the_place_of_an_output_is_replaced(made, victim):
    for name in PAGES:
        linked(made / name, victim / "file")
        linked(made / f".{Path(name).stem}.{os.getpid()}{Path(name).suffix}", victim / "file")
    render(made)
    assert not [path for path in made.iterdir() if path.is_symlink()]
    assert all((made / name).stat().st_size for name in PAGES)


def test_plots_are_not_drawn_into_another_folder(made, victim):
    linked(made / "plots", victim)
    with pytest.raises(StoreError, match=r"plots: this is a link to .*, and links are not followed; move it away"):
        render(made)
    assert not (made / "report.md").exists()
    (made / "plots").unlink()
    render(made)
    plots = list((made / "plots").iterdir())
    assert plots
    for path in plots:
        linked(path, victim / "file")
    render(made)
    assert not any(path.is_symlink() for path in plots)


@pytest.mark.parametrize("place", ["flight", "cells", "flight/a.lock", "flight/manifest.lock", "flight/a.files/0.mp4"])
def test_nothing_is_run_or_merged_into_a_folder_that_leads_elsewhere(made, victim, tmp_path, place):
    other = campaign(tmp_path / "y", [2])
    linked(made / place, victim if "." not in place else victim / "file")
    with pytest.raises(StoreError, match=r"a link to|not a regular file|cannot be read"):
        merge(made, [other])
    with pytest.raises(StoreError, match=r"a link to|not a regular file"):
        Store(made).begin({"name": "made", "asked": Store(made).manifest()["asked"], "environment": {}})


def test_a_lock_is_not_taken_through_a_link(tmp_path, victim):
    flight = tmp_path / "flight"
    linked(flight / "a.lock", victim / "file")
    with pytest.raises(StoreError, match="a link to"), claim(flight, "a", {}):
        pass
    linked(flight / "claims", victim)
    with pytest.raises(StoreError, match="a link to"), claim(flight, "b", {}):
        pass
    with pytest.raises(StoreError, match="a link to"):
        held(flight)


@pytest.mark.parametrize("place", ["views", "views/perceptual"])
def test_a_view_is_not_written_through_a_link(tmp_path, victim, place):
    linked(tmp_path / "x" / place, victim)
    with pytest.raises(StoreError, match="a link to"):
        add(tmp_path / "x", "perceptual", View("a-0", "0" * 64), "lpips", Part(((1, 0.5),)), {})


@pytest.mark.parametrize("name", ["a*", "[a]", "a\nb", "-", "a\x1b[2J", "ü", "a b ", "$(x)"])
def test_a_cell_has_the_name_of_a_cell(made, tmp_path, name):
    fits = name in ("a b ",)
    os.rename(made / "cells" / CELL, made / "cells" / name)
    if fits:
        assert [cell.id for cell in Store(made).cells()]
        return
    for read in (
        lambda: list(Store(made).cells()),
        lambda: Store(made).find(name),
        lambda: merge(tmp_path / "z", [made]),
    ):
        with pytest.raises(StoreError, match="is not a name of a cell; move it out of the campaign's folder"):
            read()
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize("part", ["", "cell.json", "record.jsonl", "pictures.npz", "files", "files/0.mp4"])
def test_a_cell_that_is_read_from_elsewhere_is_refused(made, tmp_path, part):
    """A link would bring files of the reader's into what is merged, and sent on."""
    place = made / "cells" / CELL / part
    there = tmp_path / "elsewhere"
    shutil.move(place, there)
    place.symlink_to(there)
    with pytest.raises(StoreError, match=r"a link to|not a regular file"):
        merge(tmp_path / "z", [made])
    assert not (tmp_path / "z").exists()


def test_a_link_deep_in_the_files_of_a_cell_is_refused(made, tmp_path, victim):
    linked(made / "cells" / CELL / "files" / "sub" / "a", victim / "file")
    with pytest.raises(StoreError, match="a: not a regular file; move it away"):
        merge(tmp_path / "z", [made])
    assert not (tmp_path / "z").exists()


def test_a_viewer_has_the_name_of_a_viewer(tmp_path):
    with_view(tmp_path / "x")
    (tmp_path / "x" / "views" / "perceptual").rename(tmp_path / "x" / "views" / "a\x1b[2J")
    with pytest.raises(StoreError, match="is not a name of a viewer"):
        merge(tmp_path / "z", [tmp_path / "x"])


def test_a_gate_measures_nothing_into_another_folder(tmp_path, victim):
    linked(tmp_path / "run" / "quality", victim)
    with pytest.raises(StoreError, match="a link to"):
        Rounds(tmp_path / "run", {}, 1, 1)


def test_a_finished_cell_takes_the_place_of_a_link(made, victim):
    store, cell = Store(made), next(Store(made).cells())
    linked(made / "cells" / CELL, victim)
    store.finish(CELL, cell.about, cell.samples() if cell.id != CELL else (), {"strip": np.zeros(1)})
    assert not (made / "cells" / CELL).is_symlink()


def test_the_folder_that_a_user_names_may_be_a_link(made, tmp_path):
    (tmp_path / "latest").symlink_to(made)
    written, *_ = render(tmp_path / "latest")
    assert all(path.exists() for path in written)
    assert merge(tmp_path / "latest", [campaign(tmp_path / "y", [2])]).cells == 2


def test_what_others_take_away_meanwhile_is_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "walk", lambda folder: [(str(tmp_path), [], ["gone"])])
    no_links(tmp_path)
    assert own(tmp_path, "a", "b") == tmp_path / "a" / "b"


def test_a_command_says_it_in_one_line(made, victim, monkeypatch, capsys):
    linked(made / "plots", victim)
    monkeypatch.setattr(sys, "argv", ["horizon", "compare", str(made)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
