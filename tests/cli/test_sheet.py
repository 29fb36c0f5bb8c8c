"""Tables and texts fit a terminal of 80 columns: names are cut between their parts, and no mark stands alone."""

import io

import pytest
from rich.text import Text

from harness.cli.console.sheet import allotted, cut, reflowed
from harness.cli.console.terminal import Screen, table

LONG = "attention_sink.window=13,sink=4,positions=absolute"


def printed(sheet, width=80):
    out = io.StringIO()
    Screen(file=out, width=width).print(sheet)
    return [row.rstrip() for row in out.getvalue().splitlines()]


def test_a_name_is_cut_between_its_parts_and_only_if_it_must_be():
    assert cut(Text("attention_sink"), 13).plain == "attention_\nsink"
    assert cut(Text(LONG), 26).plain == "attention_sink.window=13,\nsink=4,positions=absolute"
    assert cut(Text("2,813.75"), 8).plain == "2,813.75"
    assert cut(Text("a name  of words"), 8).plain == "a name\nof words"


def test_a_part_that_is_too_long_is_cut_anywhere():
    assert cut(Text("abcdefgh"), 3).plain == "abc\ndef\ngh"
    assert cut(Text("日本語"), 4).plain == "日本\n語"
    assert cut(Text("日本"), 1).plain == "日\n本"


def test_a_mark_stays_with_its_number():
    assert cut(Text("[0.85, 1.00] ▲"), 12).plain == "[0.85,\n1.00] ▲"
    assert cut(Text("held 114 †"), 9).plain == "held\n114 †"


def test_parts_keep_their_styles():
    text = Text.assemble(("one", "bold"), " two")
    assert [(span.start, span.end, span.style) for span in cut(text, 3).spans] == [(0, 3, "bold")]


@pytest.mark.parametrize(
    ("needs", "room", "widths"),
    [
        ([(3, 5, 9), (2, 2, 2)], 20, [9, 2]),  # all as they are
        ([(3, 5, 9), (2, 2, 2)], 8, [6, 2]),  # the longer one is wrapped
        ([(10, 40, 40), (6, 9, 9)], 30, [21, 9]),  # only the long name is cut
        ([(8, 8, 8), (4, 4, 4)], 6, [3, 3]),  # no room for parts
        ([(8, 8, 8), (4, 4, 4)], 1, [1, 1]),
        ([(0, 0, 0)], 5, [1]),
    ],
)
def test_columns_share_the_room(needs, room, widths):
    assert allotted(needs, room) == widths


def test_a_long_name_cuts_no_number_and_no_short_name():
    sheet = table("strategy", "cached (GB)", "laid out (GB)", "in all (GB)", "at least (ms)", "memory", title="a title")
    for name in ("attention_sink", LONG):
        sheet.add_row(name, "2,813.75", "3.45", "11.03", "142", "69 GB left")
    rows = printed(sheet)
    assert max(map(len, rows)) <= 80
    assert rows[0] == "a title"
    assert sum("2,813.75" in row and "69 GB left" in row for row in rows) == 2
    assert [row for row in rows if row.startswith("attention_sink  ")]


def test_a_text_is_wrapped_beside_a_name_that_is_whole():
    sheet = table("strategy", "idea", "knobs")
    sheet.add_row(
        "videomla", "A low-rank cache under any other token policy. " * 2, "policy=attention_sink.window=7,sink=1"
    )
    assert any(row.endswith("policy=attention_sink.window=7,sink=1") for row in printed(sheet))


def test_a_docstring_is_wrapped_by_its_paragraphs():
    text = (
        "A line that is as wide as this docstring becomes, and that\n"
        "goes on here.\n"
        "window: latent frames in all, the sink and the chunk, both\n"
        "    included. sink: others.\n"
        "\n"
        "Short.\n"
        "positions: a name of a knob begins a line, whatever comes."
    )
    assert reflowed(text, 60) == text
    assert reflowed(text, 40).splitlines() == [
        "A line that is as wide as this docstring",
        "becomes, and that goes on here.",
        "window: latent frames in all, the sink",
        "    and the chunk, both included. sink:",
        "    others.",
        "",
        "Short.",
        "positions: a name of a knob begins a",
        "line, whatever comes.",
    ]
