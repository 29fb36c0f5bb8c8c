"""Tables over common rollouts: lost rollouts must not improve an arm's numbers, and every gap is mentioned."""

import re

import numpy as np
import pandas as pd
import pytest

from harness.store.store import Store
from reports.arms import Entrant, entrants
from reports.report import render
from reports.statistics.comparison import compared
from reports.tables import scores, tidy
from tests.reports.folders import campaign, films, pocket


def cells(sheet):
    """{arm: {heading: cell}}."""
    return {row[0]: dict(zip(sheet.heads, row, strict=True)) for row in sheet.rows}


def count(sheet, head):
    return dict(zip(sheet.heads, sheet.counts, strict=True))[head]


def scored(values):
    """Scores as suites make them: unsaid identity of so many rollouts, by the knobs of an arm."""
    rows = [
        ("pocket", "memrope", knobs, "drift", "steady", "a thing", seed, 240, 60.0, value)
        for knobs, found in values.items()
        for seed, value in enumerate(found)
    ]
    names = ["backbone", "strategy", "knobs", "suite", "scenario", "prompt", "seed", "horizon_latent_frames"]
    table = pd.DataFrame(rows, columns=[*names, "horizon_seconds", "value"])
    return table.assign(metric="unsaid_identity", unit="share", better="higher", observed_by="seed")


def found(folder, baseline=None):
    store = Store(folder)
    return compared(scores(tidy(store)), entrants(store), baseline)


def row(comparison, arm, metric="psnr", seconds=30.0):
    rows = comparison.rows
    rows = rows[(rows["arm"] == arm) & (rows["metric"] == metric) & (rows["horizon_seconds"] == seconds)]
    (one,) = rows.itertuples()
    return one


def test_means_and_differences_are_over_the_rollouts_that_arms_share(tmp_path):
    """Two of four films of one arm are not finite: on its easy half it is worse, though its own mean is higher."""
    folder = campaign(
        tmp_path / "c", films({"sliding_window": [16.0, 16.2, 15.2, 15.4], "memrope": [15.7, 15.9, None, None]})
    )
    base, mine = (row(found(folder), arm) for arm in ("sliding_window", "memrope"))
    assert (base.mean, mine.mean) == (pytest.approx(16.1), pytest.approx(15.8))
    assert (base.count, base.own, base.of) == (2, 4, 4)
    assert (mine.count, mine.own, mine.of) == (2, 2, 4)
    assert mine.difference == pytest.approx(mine.mean - base.mean)
    # Of two rollouts nothing is real.
    assert not mine.real
    _, (sheet, *_), legend = render(folder)
    assert count(sheet, "PSNR (dB)") == "n=2 of 4"
    assert "(2 of 4)" in cells(sheet)["memrope"]["PSNR (dB)"]
    assert "of 4" not in cells(sheet)["sliding_window"]["PSNR (dB)"]
    assert "all of its arms have" in legend.incomplete
    for page in ("report.html", "report.md"):
        text = (folder / page).read_text(encoding="utf-8")
        assert "every arm draws the same prompts" not in text
        assert "(2 of 4)" in text
        assert "n=2 of 4" in text


def test_complete_arms_say_so(tmp_path):
    folder = campaign(tmp_path / "c", films({"sliding_window": [16.0, 15.0], "memrope": [15.0, 14.0]}))
    _, (sheet, *_), legend = render(folder)
    assert count(sheet, "PSNR (dB)") == "n=2"
    assert legend.incomplete == ""
    assert "every arm draws the same prompts" in (folder / "report.md").read_text(encoding="utf-8")


def test_an_arm_that_hardly_has_any_does_not_take_them_from_the_others(tmp_path):
    rollouts = films({"sliding_window": [16.0] * 8, "memrope": [15.0] * 8, "full": [20.0] + [None] * 7})
    folder = campaign(tmp_path / "c", rollouts)
    comparison = found(folder)
    assert row(comparison, "memrope").count == 8
    assert row(comparison, "full").count == 0
    _, (sheet, *_), _ = render(folder)
    assert cells(sheet)["full"]["PSNR (dB)"] == "n/a (1 of 8)"
    # What it shares with each of the others is in the table of pairs.
    pairs = comparison.pairs[(comparison.pairs["metric"] == "psnr") & (comparison.pairs["horizon_seconds"] == 30)]
    assert sorted(pairs["count"]) == [1, 1, 8]


def test_arms_with_other_prompts_are_not_compared(tmp_path):
    one = [("a red fox", 0, 120, {"psnr": 16.0})]
    other = [("a blue cat on a wall", 0, 120, {"psnr": 15.0})]
    folder = campaign(tmp_path / "c", {"sliding_window": one, "memrope": other})
    comparison = found(folder)
    assert comparison.pairs.empty
    assert not row(comparison, "memrope").real
    _, (sheet, *_), legend = render(folder)
    assert cells(sheet)["memrope"]["PSNR (dB)"] == "15.00 (1 of 2)"
    assert "every arm draws the same prompts" not in (folder / "report.html").read_text(encoding="utf-8")
    assert legend.marks == "No marks: no arm can be compared with sliding_window."


def test_films_of_all_lengths_are_shown(tmp_path):
    values = {"sliding_window": [16.0, 16.2, 15.2, 12.0], "memrope": [15.7, 15.9, 15.0, 11.0]}
    folder = campaign(tmp_path / "c", films(values, lengths=[24, 24, 24, 48]))
    _, sheets, _ = render(folder)
    titles = {sheet.title: sheet for sheet in sheets}
    assert {"as published, 12 s", "as published, 6 s"} <= set(titles)
    assert count(titles["as published, 12 s"], "PSNR (dB)") == "n=1"
    assert count(titles["as published, 6 s"], "PSNR (dB)") == "n=3"
    assert cells(titles["as published, 6 s"])["memrope"]["PSNR (dB)"].startswith("15.53")


def test_films_of_five_seconds_do_not_stand_with_the_others(tmp_path):
    values = {"sliding_window": [100.0, 16.2], "memrope": [100.0, 15.9]}
    folder = campaign(tmp_path / "c", films(values, lengths=[21, 120]))
    rows = pd.read_csv(folder / "table.csv") if render(folder) else None
    psnr = rows[rows["metric"] == "psnr"]
    assert psnr["mean"].max() < 20
    assert set(psnr["horizon_latent_frames"]) == {120}
    assert "100.00" not in (folder / "report.md").read_text(encoding="utf-8")


def test_marks_are_corrected_for_all_pairs_of_their_column():
    """Seven arms by chance alone: one column in twenty calls any of its 21 pairs real."""
    names = [f"memrope.window={window}" for window in range(9, 30, 3)]
    field = [Entrant(name, "memrope", name, {}, ("as published",), 0) for name in names]
    calls = 0
    for number in range(100):
        values = np.random.default_rng(number).uniform(0.2, 0.9, (7, 16))
        comparison = compared(scored(dict(zip(names, values, strict=True))), field)
        calls += bool(comparison.pairs["real"].any())
    assert 1 <= calls <= 10
    ranked = comparison.pairs.sort_values("p")
    assert len(ranked) == 7 * 6 / 2
    by_hand = np.minimum.accumulate((ranked["p"] * len(ranked) / np.arange(1, len(ranked) + 1))[::-1])[::-1]
    np.testing.assert_allclose(ranked["p_adjusted"], np.minimum(by_hand, 1))


def test_all_pairs_are_written_and_the_matrix_counts_them(tmp_path):
    good, bad = [0.9 + 0.001 * n for n in range(16)], [0.1 + 0.001 * n for n in range(16)]
    folder = campaign(
        tmp_path / "c", pocket({"sliding_window": bad, "memrope": good, "attention_sink": good}), backbone="pocket"
    )
    _, sheets, _ = render(folder)
    pairs = pd.read_csv(folder / "pairs.csv")
    last = pairs[(pairs["metric"] == "unsaid_identity") & (pairs["horizon_seconds"] == 60)]
    named = {(one.arm, one.other): one for one in last.itertuples()}
    assert set(named) == {
        ("sliding_window", "memrope"), ("sliding_window", "attention_sink"), ("memrope", "attention_sink")
    }  # fmt: skip
    assert named["sliding_window", "memrope"].difference == pytest.approx(-0.8)
    assert named["sliding_window", "memrope"].real
    assert -1 <= named["sliding_window", "memrope"].low <= named["sliding_window", "memrope"].high < 0
    assert not named["memrope", "attention_sink"].real
    matrix = next(sheet for sheet in sheets if sheet.title == "pairwise wins, as published")
    assert matrix.rows == [
        ["1 sliding_window", "·", "0", "0"], ["2 memrope", "2", "·", "0"], ["3 attention_sink", "2", "0", "·"]
    ]  # fmt: skip
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Pairwise wins, as published" in text
    assert "| 2 memrope | 2 | · | 0 |" in text


def test_the_yardstick_is_not_marked_for_being_itself(tmp_path):
    """`full` is 0 away from itself by definition, which is no merit."""
    folder = tmp_path / "c"
    rollouts = {
        name: [("a thing", 100 + n, 36, {"distance": value}) for n in range(16)]
        for name, value in (("sliding_window", 0.5), ("full", 0.0), ("memrope", 0.6))
    }
    campaign(folder, rollouts, backbone="pocket", suite="distance")
    for path in (folder / "cells").glob("*/cell.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"steady"', '"forced"'), encoding="utf-8")
    _, (sheet, *_), _ = render(folder)
    shown = cells(sheet)
    assert shown["full"]["distance to full (%)"] == "0.00 (itself)"
    assert "▼" in shown["memrope"]["distance to full (%)"]
    pairs = found(folder).pairs
    assert "full" not in set(pairs["arm"]) | set(pairs["other"])


def test_what_is_neither_better_nor_worse_has_no_mark(tmp_path):
    folder = campaign(tmp_path / "c", films({"sliding_window": [1.0] * 12, "memrope": [1.5] * 12}, metric="sharpness"))
    for path in (folder / "cells").glob("*/record.jsonl"):
        assert "sharpness" in path.read_text(encoding="utf-8")
    assert row(found(folder), "memrope", "sharpness").real
    rollouts = {
        name: [(f"p{n}", n, 120, {"sharpness": value, "psnr": value, "guard": 1}) for n in range(12)]
        for name, value in (("sliding_window", 1.0), ("memrope", 1.5))
    }
    _, (sheet, *_), _ = render(campaign(tmp_path / "d", rollouts))
    shown = cells(sheet)["memrope"]
    assert "▲" in shown["PSNR (dB)"]
    assert not re.search("[▲▼]", shown["sharpness"])


def test_films_of_one_prompt_are_one_observation(tmp_path):
    """Five seeds of two prompts are two observations, not ten."""
    rollouts = {
        name: [(f"p{n % 2}", n, 120, {"psnr": 10 + shift + n % 2}) for n in range(10)]
        for name, shift in (("sliding_window", 0), ("memrope", 1))
    }
    mine = row(found(campaign(tmp_path / "c", rollouts)), "memrope")
    assert mine.count == 10
    assert not mine.real
    assert mine.p == 0.5
