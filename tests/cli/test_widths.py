"""Tables at 80 and 200 columns, in a pipe, and without colour: names stay whole, and a row in a pipe is one line."""

import io
import re

import pytest

from harness.cli.console.report_table import fitted
from harness.cli.console.sheet import blocks, cut
from harness.cli.console.terminal import Screen, line, table
from reports.sheets.sheet import Sheet

NAMES = ("attention_sink", "sliding_window", "attention_sink.window=13,sink=4,positions=absolute")
COLOUR = re.compile(r"\x1b\[[\d;]*[349][0-7][\d;]*m")


def printed(*shown, **options):
    out = io.StringIO()
    screen = Screen(file=out, **options)
    for each in shown:
        screen.print(each)
    return out.getvalue()


def wide():
    """A table whose columns are too many for 80 characters."""
    heads = [f"{each} of a chunk (GB)" for each in ("cached", "laid", "archived", "moved", "computed", "measured")]
    sheet = table("strategy", *heads, "one", "two", "three", title="a title")
    for name in NAMES:
        sheet.add_row(line(name, "bold"), *(["12,813.75"] * 6), "0.93 ▲", "n/a", "bandwidth")
    return sheet


def report():
    shown = Sheet("as published", ["strategy"], [[name] for name in NAMES], [""])
    for number in range(7):
        shown.add(f"column {number}", ["0.93 [0.69, 0.97] ▲"] * len(NAMES), "n=8")
    return shown


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_names_and_marks_stay_whole(width, terminal):
    for shown in ([wide()], fitted(report(), width)):
        text = printed(*shown, width=width, force_terminal=terminal, no_color=True)
        rows = [re.sub(r"\x1b\[[\d;]*m", "", row).rstrip() for row in text.splitlines()]
        assert max(map(len, rows)) <= width
        first = {row.split(" ")[0] for row in rows}
        assert {"attention_sink", "sliding_window"} <= first
        assert not first & {"attention_", "sink", "attention_sin", "k", "window"}
        assert [row for row in rows if row.strip() in ("▲", "]", "▲ ▲")] == []


def test_at_200_columns_a_long_name_is_on_one_line():
    (shown,) = fitted(report(), 200)
    assert any(row.startswith(NAMES[-1]) for row in printed(shown, width=200).splitlines())


def test_a_table_is_split_only_if_its_names_do_not_fit():
    assert blocks([(10, 10, 10), (5, 5, 5), (5, 5, 5)], 24) == [[0, 1, 2]]
    assert blocks([(10, 10, 10), (5, 5, 5), (5, 5, 5)], 23) == [[0, 1], [0, 2]]
    assert blocks([(10, 10, 10), (5, 5, 5)], 9) == [[0, 1]]
    assert blocks([(10, 10, 10), (90, 90, 90), (5, 5, 5)], 40) == [[0, 1], [0, 2]]


def test_very_long_names_leave_room_for_what_they_mean():
    sheet = table("metric", "unit", "what it is")
    sheet.add_row("vde_normalised_aesthetic_quality_over_time", "as measured", "a sentence of several words " * 3)
    sheet.add_row("unsaid_identity", "share", "attributes that only the memory knows " * 3)
    rows = printed(sheet, width=60).splitlines()
    assert max(map(len, rows)) <= 60
    assert rows[0].split() == ["metric", "unit", "what", "it", "is"]
    assert any(row.startswith("unsaid_identity ") and "share" in row for row in rows)


def test_a_part_of_a_name_is_broken_only_where_nothing_else_is_left():
    assert cut(line("memrope.window=9"), 14).plain == "memrope.\nwindow=9"
    assert cut(line("attention_sink"), 10).plain == "attention_\nsink"


def test_a_row_in_a_pipe_is_one_line(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    text = printed(wide())
    title, head, *rows = text.splitlines()
    assert (title, head.split()[0], [row.split()[0] for row in rows]) == ("a title", "strategy", list(NAMES))
    assert "\x1b" not in text
    assert all(row == row.rstrip() for row in text.splitlines())
    (shown,) = fitted(report(), Screen(file=io.StringIO()).width)
    head, *rows = printed(shown).splitlines()
    assert head.count("n=8") == 7
    assert [row.count("0.93 [0.69, 0.97] ▲") for row in rows] == [7, 7, 7]
    assert printed("a sentence " * 40).count("\n") == 1


def test_columns_limits_a_pipe_too(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, printed(wide()).splitlines())) <= 80


def test_no_color_on_a_terminal(monkeypatch):
    sheet = table("a")
    sheet.add_row(line("b", "red"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert COLOUR.search(printed(sheet, force_terminal=True, width=80))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(printed(sheet, force_terminal=True, width=80))
