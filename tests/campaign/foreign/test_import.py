"""Films made elsewhere in campaigns: alone, beside arms of a backbone, paired and unpaired."""

import json

import numpy as np
import pytest

from harness.campaign.film_list import list_films
from harness.campaign.foreign.arm import Asked, import_films
from harness.campaign.foreign.measured import blocks, latent_frames, pictures_of
from harness.campaign.foreign.prompts import prompts_of
from harness.errors import CampaignError, PromptError
from harness.films.contract import check_file
from harness.films.reader import natural
from harness.provenance.environment import machine_facts
from harness.store.store import Store
from harness.suite import Sample
from reports.evaluation import evaluate
from reports.report import render
from suites.viewers.here import look
from suites.viewers.video_file import footage
from tests.campaign.foreign import made
from tests.suites import fakes
from tests.suites.filmed import write

PROMPTS = ["a fox in the snow", "a den", "a cat on a wall", "a cup"]
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Four films of thirty seconds, named as VBench does, which tests must not change."""
    home = tmp_path_factory.mktemp("films")
    return [write(home / f"{prompt}-0.mkv", fakes.living(place), 8) for place, prompt in enumerate(PROMPTS)]


def horizon(folder, arms=("sliding_window", "memrope"), prompts=PROMPTS[:3], seed=7):
    """A finished campaign of a real backbone, drift of 30 s: what its cells say is made up."""
    store = Store(folder)
    named = [
        {"label": arm, "strategy": arm, "knobs": {}, "tables": ["as published"], "weights": None, "budget_bytes": None,
         "budget_note": None} for arm in arms
    ]  # fmt: skip
    cells = {f"{arm}-{place}": (arm, prompt) for arm in arms for place, prompt in enumerate(prompts)}
    asked = {"backbone": "self-forcing", "known_world": False, "weights": "w", "dtype": "bfloat16", "tier": "quick",
             "seed": 0, "suite_versions": {"drift": "3"}, "arms": named, "cells": list(cells)}  # fmt: skip
    store.begin({"name": "x", "asked": asked, "environment": {**machine_facts(), "gpu": None, "device": "cpu",
                 "attention": "a", "dtype": "b"}, "plan": {}, "codes": {}, "when": "now"})  # fmt: skip
    for number, (cell, (arm, prompt)) in enumerate(cells.items()):
        row = {"seed": seed + prompts.index(prompt), "script": [[0, prompt]], "vbench": ""}
        task = {
            "scenario": "steady",
            "frames": 120,
            "given": 0,
            "forced": False,
            "boundaries": ["smooth"],
            "rows": [row],
        }
        place = folder / "made"
        place.mkdir(exist_ok=True)
        film = made.write(place / f"{cell}.mp4", made.pictures(12))
        (place / "w.json").write_text("[21, 120]", encoding="utf-8")
        samples = [Sample(0, "psnr", at, 20.0 + number) for at in (21, 120)]
        about = {"status": "ok", "reason": "", "cost": {}, "backbone": "self-forcing", "strategy": arm, "arm": arm,
                 "knobs": {}, "code": None, "weights": None, "suite": "drift", "suite_version": "3",
                 "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "pictures_per_second": 16.0,
                 "pictures_per_latent": 4, "task": task}  # fmt: skip
        store.finish(cell, about, samples, {}, {"0.mp4": film, "windows.json": place / "w.json"})
    return store


def rows(folder, metric="psnr"):
    found = evaluate([folder]).found
    return found.rows[found.rows["metric"] == metric].set_index("arm"), found.pairs[found.pairs["metric"] == metric]


def test_a_folder_of_imported_films_is_a_campaign_of_its_own(tmp_path, films):
    store = Store(tmp_path / "alone")
    done = import_films(store, Asked(films, "theirs"))
    assert (done.films, done.paired, done.refused) == (4, 0, [])
    cells = list(store.cells())
    assert {cell.about["task"]["rows"][0]["script"][0][1] for cell in cells} == set(PROMPTS)
    about = cells[0].about["imported"]
    assert (about["height"], about["width"], about["rate"], about["pictures"]) == (48, 64, 8, 240)
    assert (about["codec"], about["range"], about["as_it_is"]) == ("ffv1", "full", True)
    assert cells[0].about["task"]["frames"] == 120
    _, listed = list_films(store)
    for film in listed:
        check_file(film)
        assert footage(film.path).frames == film.frames == film.windows[-1].end == 240
        assert film.reference == round(21 * 240 / 120)
    # One film, since a viewer takes seconds for each.
    assert look(store.folder, listed[:1], 1, lambda line: None) == 0
    render(store.folder)
    page = (store.folder / "report.md").read_text(encoding="utf-8")
    assert "theirs: 4 films, 8 pictures a second" in page
    assert "Summary measures" in page
    # The same command again finds everything there.
    before = {cell.id: cell.about["attempt"] for cell in store.cells()}
    import_films(Store(store.folder), Asked(films, "theirs"))
    assert {cell.id: cell.about["attempt"] for cell in store.cells()} == before
    assert len(store.manifest()["runs"]) <= 2


def test_films_of_the_same_prompts_are_paired_with_other_arms(tmp_path, films):
    store = horizon(tmp_path / "x")
    done = import_films(store, Asked(films, "theirs"))
    assert (done.films, done.paired) == (4, 3)
    mine = {cell.about["task"]["rows"][0]["script"][0][1]: cell.about["task"]["rows"][0]["seed"]
            for cell in store.cells() if cell.about["strategy"] == "imported"}  # fmt: skip
    assert [mine[prompt] for prompt in PROMPTS[:3]] == [7, 8, 9]
    table, pairs = rows(store.folder)
    assert table.loc["theirs", "count"] == 3
    assert table["paired"].all()
    assert set(zip(pairs["arm"], pairs["other"], pairs["paired"], strict=True)) >= {("sliding_window", "memrope", True)}
    assert np.isfinite(table.loc["theirs", "difference"])
    render(store.folder)
    assert "theirs: 4 films, 8 pictures a second, paired by prompt" in (store.folder / "report.md").read_text("utf-8")


def test_films_of_other_prompts_are_compared_unpaired_and_leave_the_others_as_they_were(tmp_path, films):
    store = horizon(tmp_path / "x", prompts=["one", "two", "three"])
    before, pairs_before = rows(store.folder)
    done = import_films(store, Asked(films, "theirs"))
    assert done.paired == 0
    table, pairs = rows(store.folder)
    names = ["mean", "low", "high", "difference", "count"]
    assert table.loc[["memrope", "sliding_window"], names].equals(before.loc[["memrope", "sliding_window"], names])
    assert not table.loc["theirs", "paired"]
    assert table.loc["theirs", "count"] == 4
    values = [next(s.value for s in cell.samples() if s.metric == "psnr" and s.at_frame == 120)
              for cell in store.cells() if cell.about["strategy"] == "imported"]  # fmt: skip
    off = table.loc["theirs", "mean"] - table.loc["sliding_window", "mean"]
    assert table.loc["theirs", "difference"] == pytest.approx(off)
    assert len(values) == 4
    assert pairs.loc[pairs["other"].eq("theirs") | pairs["arm"].eq("theirs"), "paired"].eq(False).all()
    assert pairs_before["difference"].tolist() == pairs.loc[pairs["paired"].astype(bool), "difference"].tolist()
    render(store.folder)
    page = (store.folder / "report.md").read_text("utf-8")
    assert "unpaired" in page
    assert "Welch" in page


def test_a_film_that_viewers_cannot_read_alike_becomes_a_lossless_copy(tmp_path):
    shown, (times, _) = made.pictures(), made.uneven()
    path = made.turn(made.write(tmp_path / "a.mp4", shown, codec="libx264rgb", form="rgb24", times=times,
                                options={"crf": "0"}), 3)  # fmt: skip
    store = Store(tmp_path / "x")
    assert not import_films(store, Asked([path], "theirs", rate=None)).refused
    (cell,) = store.cells()
    assert set(cell.about["files"]) == {"0.mkv", "windows.json"}
    assert cell.about["imported"]["turned"]
    assert cell.about["imported"]["sampled_by_time"]
    _, (film,) = list_films(store)
    assert footage(film.path).frames == film.frames
    assert (footage(film.path).height, footage(film.path).width) == (64, 48)


def test_what_is_refused_leaves_the_others_alone(tmp_path, films):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    said = []
    done = import_films(Store(tmp_path / "x"), Asked([bad, films[0]], "theirs"), report=said.append)
    assert done.films == 1
    assert len(done.refused) == 1
    assert "bad.mp4" in said[0]
    long = import_films(Store(tmp_path / "y"), Asked(films[:1], "theirs", seconds=60))
    assert "which is less than --seconds 60" in long.refused[0]
    assert not (tmp_path / "y" / "manifest.json").exists()


def test_several_scenes_belong_to_interactive(tmp_path, films):
    table = tmp_path / "t.json"
    table.write_text(json.dumps([
        {"file": films[0].name, "scenes": "a fox [10s#] | a den [10s@] | a fox [10s]", "seed": 5},
        {"file": films[1].name, "prompt": "a den", "vbench": "den"},
    ]), encoding="utf-8")  # fmt: skip
    store = Store(tmp_path / "x")
    import_films(store, Asked(films[:2], "theirs", table))
    about = {cell.about["suite"]: cell.about["task"] for cell in store.cells()}
    assert about["interactive"]["scenario"] == "recall"
    assert about["interactive"]["rows"][0] == {"seed": 5, "script": [[0, "a fox"], [40, "a den"], [80, "a fox"]],
                                               "vbench": ""}  # fmt: skip
    assert about["drift"]["rows"][0]["vbench"] == "den"
    _, listed = list_films(store)
    acts = next(film.acts for film in listed if film.suite == "interactive")
    assert [(act.start, act.end, act.boundary) for act in acts] == [(0, 80, "smooth"), (80, 160, "hardcut"),
                                                                   (160, 240, "recall")]  # fmt: skip


@pytest.mark.nightly
def test_several_processes_import_the_same(tmp_path, films):
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    import_films(one, Asked(films[:2], "theirs", chunk=6))
    import_films(other, Asked(films[:2], "theirs", chunk=6), workers=2)
    assert [(cell.id, cell.samples()) for cell in one.cells()] == [(cell.id, cell.samples()) for cell in other.cells()]
    assert {sample.metric for sample in next(one.cells()).samples()} >= {"seam", "psnr", "ssim", "guard"}


def test_names_and_campaigns_that_will_not_do(tmp_path, films):
    for name in ("memrope", "a/b", ""):
        with pytest.raises(CampaignError, match="--name"):
            import_films(Store(tmp_path / "x"), Asked(films, name))
    with pytest.raises(CampaignError, match="--suite fps"):
        import_films(Store(tmp_path / "x"), Asked(films, "theirs", suites=("fps",)))


def test_prompts_by_name_by_order_by_table(tmp_path, films):
    assert [prompt.text for prompt in prompts_of(films, None)] == PROMPTS
    lines = tmp_path / "p.txt"
    lines.write_text("\n".join(reversed(PROMPTS)), encoding="utf-8")
    assert [prompt.text for prompt in prompts_of(films, lines)] == PROMPTS
    numbered = [tmp_path / f"{number}.mp4" for number in (10, 2, 1)]
    lines.write_text("one\ntwo\nten\n", encoding="utf-8")
    assert [prompt.text for prompt in prompts_of(numbered, lines)] == ["ten", "two", "one"]
    assert sorted(numbered, key=natural) == numbered[::-1]
    table = tmp_path / "t.csv"
    table.write_text("file,prompt,seed\n1.mp4,one,3\n2.mp4,two,\n10.mp4,ten,4\n", encoding="utf-8")
    assert [(prompt.text, prompt.seed) for prompt in prompts_of(numbered, table)] == [
        ("ten", 4),
        ("two", None),
        ("one", 3),
    ]
    lines.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(PromptError, match="2 prompts for 3 films"):
        prompts_of(numbered, lines)
    wrong = {
        "file,prompt\n1.mp4,one\n": "no row for",
        "file,prompt,sed\n": "holds no",
        "file,promt\n1.mp4,x\n": "unknown key",
        "file,prompt,seed\n1.mp4,x,y\n": "seed",
    }
    for text, words in wrong.items():
        table.write_text(text, encoding="utf-8")
        with pytest.raises(PromptError, match=words):
            prompts_of(numbered, table)


def test_lengths_are_counted_by_time():
    lengths = (21, 120, 240)
    assert latent_frames(30.0, 0.25, lengths) == latent_frames(477 / 16, 0.25, lengths) == 120
    assert latent_frames(5.0, 0.25, lengths) == latent_frames(81 / 16, 0.25, lengths) == 21
    assert latent_frames(20.0, 0.25, lengths) == 80
    assert [pictures_of(frames, 120, 720) for frames in (0, 1, 21, 120)] == [0, 6, 126, 720]
    found = list(blocks(50, [21, 50], 12))
    assert [start for start, _, _ in found] == [0, 8, 12, 20, 21, 24, 32, 36, 44, 48]
    assert [start for start, _, border in found if border] == [12, 24, 36, 48]
