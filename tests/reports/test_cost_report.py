"""The cost part of a report, of made-up seconds: one strategy is a tenth slower than the baseline, and holds half."""

import pytest

from harness.store.store import Store
from reports.arms import entrants
from reports.plots.panels import front
from reports.report import render
from reports.sheets.cost import speeds
from reports.statistics.comparison import compared
from reports.tables import scores, tidy
from tests.reports import folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders.cost(tmp_path_factory.mktemp("runs") / "cost")


def test_tables_of_speed_and_memory(folder):
    _, sheets, _ = render(folder)
    speed, memory = sheets
    assert set(speed.counts) == {"", "n=4"}
    assert (speed.title, memory.title) == ("what it costs: speed", "what it costs: memory")
    slow = dict(zip(speed.heads, speed.rows[1], strict=True))
    assert slow["strategy"] == "memrope"
    # Repeats differ by a third, and in every one of them memrope is slower: that is seen because they are paired.
    assert slow["DiT (FPS)"].endswith("▼")
    assert slow["p99"] != "n too small"
    assert dict(zip(memory.heads, memory.rows[1], strict=True))["cached"] == "2.00 MB ▲"
    for plot in ("chunk-latency", "cost-over-the-video"):
        assert (folder / f"plots/{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert "DiT (FPS)" in (folder / "report.md").read_text(encoding="utf-8")


def test_repeats_are_told_apart_in_the_records(folder):
    table = tidy(Store(folder))
    assert sorted(table["repeat"].unique()) == [0, 1, 2, 3]
    by_arm = speeds(compared(scores(table), entrants(Store(folder))).rows)
    assert by_arm["sliding_window"] / by_arm["memrope"] == pytest.approx(1.1, rel=0.01)


def test_the_front_is_what_nothing_beats():
    from matplotlib.figure import Figure

    axis = Figure().add_subplot()
    points = [(1, 0.2), (2, 0.9), (3, 0.8), (4, 0.9), (5, 1.0)]
    front(axis, points, cheap=True)
    front(axis, points, cheap=False)
    lines = [list(zip(*line.get_data(), strict=True)) for line in axis.lines]
    assert lines == [[(1, 0.2), (2, 0.9), (5, 1.0)], [(5, 1.0)]]
