"""The data of a page of made-up records: its arms, rollouts and films."""

import html.parser
import json
import re

import pandas as pd
import pytest

from reports.page import page as pages
from reports.report import render
from tests.page.showcase import make

NAMES = ("sliding_window", "memrope", "rolling_sink", "videomla")


class Page(html.parser.HTMLParser):
    """The texts and attributes of a page's elements, and its data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self.inside = [], None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") == "data"

    def handle_data(self, data):
        if self.inside and self.data is None:
            self.data = json.loads(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("page") / "c", NAMES, rows=6)
    render(made)
    return made


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_it_is_one_file_that_asks_for_nothing(folder, page):
    path = folder / "report.html"
    assert path.stat().st_size < 3_000_000
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)


def test_all_parts_are_there_in_order(page):
    parts = [a["id"] for tag, a in page.tags if tag == "section" and a.get("id")]
    assert parts == ["answer", "tables", "curves", "films", "provenance"]


def test_every_pair_of_arms_is_there_so_that_any_can_be_the_baseline(folder, page):
    pairs = pd.read_csv(folder / "pairs.csv")
    table = page.data["tables"]["table-0"]
    column = next(each for each in table["columns"] if each["better"] == "higher")
    assert table["arms"] == list(NAMES)
    assert len(column["pairs"]) == 6
    mine = pairs[(pairs["table"] == "as published") & (pairs["metric"] == "unsaid_identity")]
    mine = mine[(mine["scenario"] == "steady") & (mine["horizon_seconds"] == 60)]
    found = {(NAMES[one], NAMES[other]): off for one, other, off, *_ in column["pairs"]}
    for row in mine.itertuples():
        assert found[row.arm, row.other] == pytest.approx(row.difference, abs=1e-4)


def test_what_is_copied_as_csv_are_lines_of_table_csv(folder, page):
    lines = (folder / "table.csv").read_text(encoding="utf-8").splitlines()
    for table in page.data["tables"].values():
        csv = table["csv"]
        assert csv["head"] == lines[0]
        copied = [line for mine in csv["arms"].values() for line in mine]
        assert set(copied) <= set(lines[1:])
        assert bool(copied) == bool(table["columns"])
    first = page.data["tables"]["table-0"]
    assert {len(mine) for mine in first["csv"]["arms"].values()} == {len(first["columns"])}


def test_films_are_inside_and_each_belongs_to_a_rollout(folder, page):
    films, blocks = page.data["films"], page.data["rollouts"]["blocks"]
    assert sum(len(each) for each in films.values()) < 3_000_000
    assert all(each.startswith("data:video/mp4;base64,") for each in films.values())
    there = {
        f"{block['cells'][cell][0]}:{row}" for block in blocks for at in block["at"].values() for _, cell, row in at
    }
    assert set(films) <= there


def test_beyond_the_room_films_are_addressed_beside_the_page(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "films", lambda *a, **k: pages_films(*a, inline=20_000, **k))
    from reports.page.films import films as pages_films

    render(folder, out=tmp_path / "away")
    found = Page((tmp_path / "away" / "report.html").read_text(encoding="utf-8")).data["films"]
    beside = [each for each in found.values() if not each.startswith("data:")]
    assert beside
    assert all((tmp_path / "away" / each).resolve().is_file() for each in beside)


def test_a_rollout_has_its_prompts_curve_scores_record_and_command(folder, page):
    rollouts = page.data["rollouts"]
    block = next(each for each in rollouts["blocks"] if each["scenario"] == "occlusion")
    assert block["scripts"][0] == [[0, "a thing"], [4.5, "a curtain"], [12.75, "back to a thing"]]
    place, cell, _ = block["at"]["memrope"][0]
    assert (folder / "cells" / block["cells"][cell][0] / block["record"]).is_file()
    (curve,) = block["curves"]
    assert len(curve["arms"]["memrope"][place]) == len(curve["x"])
    assert None in curve["arms"]["memrope"][place]
    assert {each["heading"] for each in block["scores"]} == {"after an occlusion"}
    assert rollouts["commands"]["memrope.window=9"].startswith("horizon run --strategy memrope.window=9 --suite SUITE")


def test_what_was_not_measured_is_a_gap(page):
    chart = next(each for each in page.data["charts"] if each["name"] == "occlusion-unsaid_identity")
    ys = [each["y"] for each in chart["panels"][0]["arms"]]
    assert all(None in y for y in ys)
    assert all(y[0] is not None and y[-1] is not None for y in ys)
    assert [scene["name"] for scene in chart["scenes"]] == ["a thing", "a curtain", "back to a thing"]


def test_prompt_switches_are_a_panel_each(page):
    chart = next(each for each in page.data["charts"] if each["name"] == "prompt-switches-new-scene")
    assert chart["kind"] == "multiples"
    assert [panel["title"] for panel in chart["panels"]] == [
        "1. smooth", "2. hardcut", "3. smooth", "4. back to a thing", "5. hardcut"
    ]  # fmt: skip
    assert max(chart["panels"][0]["arms"][0]["x"]) == 5.25


def test_the_answer_names_the_best_their_price_and_who_is_level(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    answers = re.findall(r"<li>(.*?)</li>", text.partition('class="answer"')[2].partition("</ol>")[0])
    assert answers[0].startswith("memrope and rolling_sink keep the video itself longest: 60.0 s of 60 s (n=6")
    assert "; sliding_window, the baseline, " in answers[0]
    assert answers[1].startswith("memrope takes 541 kB of cache and 26 ms a chunk (indicative), the least of them")
    assert len(answers) == 3


def test_arms_at_a_disadvantage_are_marked(page):
    (price, *_) = page.data["charts"]
    assert price["id"] == "price"
    notes = {each["arm"]: each["note"] for each in price["panels"][0]["arms"]}
    assert notes == {"sliding_window": "", "memrope": "", "rolling_sink": "", "videomla": "untrained"}


def test_every_heading_says_what_stands_in_its_column(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert (
        "Attributes that only the memory knows, still right (a share from 0 to 1, higher is better); suite drift, "
        in text
    )
    assert text.count(" popover ") > 20
