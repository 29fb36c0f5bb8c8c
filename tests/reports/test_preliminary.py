"""A campaign that is still running shows a table of what is finished."""

from types import SimpleNamespace

import pytest

from harness.cli.console.preliminary import EVERY, FIRST, SHORT, Preliminary
from harness.cli.console.ticker import Ticker
from harness.errors import StoreError
from reports.preliminary import preliminary
from tests.reports.folders import campaign, pocket


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_table_holds_the_finished_cells_over_common_rollouts(tmp_path):
    campaign(tmp_path, pocket({"sliding_window": [0.4, 0.5, 0.6, 0.7], "memrope": [0.8, 0.9]}), backbone="pocket")
    sheet = preliminary(tmp_path)
    assert sheet is not None
    assert sheet.notes == []
    place = sheet.heads.index("unsaid identity")
    assert sheet.counts[place] == "n=2 of 4"
    assert {row[0]: row[place][:4] for row in sheet.rows} == {"sliding_window": "0.45", "memrope": "0.85"}


def test_nothing_finished_is_no_table_and_stops_no_run(tmp_path, capsys):
    with pytest.raises(StoreError):
        preliminary(tmp_path)
    clock = Clock()
    table = Preliminary(tmp_path, clock)
    clock.now += FIRST
    assert table.due(None)
    table.show(0, 4)
    assert capsys.readouterr().out == ""
    assert not table.due(None)


def test_tables_come_after_a_while_and_not_shortly_before_the_end(tmp_path, monkeypatch, capsys):
    campaign(tmp_path, pocket({"sliding_window": [0.4, 0.5], "memrope": [0.8, 0.9]}), backbone="pocket")
    clock = Clock()
    table = Preliminary(tmp_path, clock)
    assert not table.due(1000.0)
    clock.now += FIRST
    assert table.due(1000.0)
    assert not table.due(SHORT / 2)
    table.show(2, 60)
    out = capsys.readouterr().out
    assert "Preliminary, 2 of 60 cells:" in out
    assert "memrope" in out
    assert "0.85" in out
    clock.now += EVERY - 1
    assert not table.due(1000.0)
    clock.now += 1
    assert table.due(1000.0)


def test_a_run_asks_for_the_table_after_every_cell(monkeypatch):
    asked = []
    table = SimpleNamespace(due=lambda left: not asked.append(left), show=lambda *counts: asked.append(counts))
    task = SimpleNamespace(rows=[0, 1], frames=30, scenario="steady")
    suite, arm = SimpleNamespace(name="drift"), SimpleNamespace(label="arm")
    cells = [SimpleNamespace(id=name, task=task, arm=arm, suite=suite, skip=None) for name in "ab"]
    with Ticker(cells, table=table) as ticker:
        ticker.done(cells[0], "ok", "")
    assert asked[1] == (1, 2)
