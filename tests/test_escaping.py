"""Text stays text: each medium's escaping, read by the medium's own parser."""

import csv
import io
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from rich.text import Text

from harness import escaping
from harness.cli.console import terminal
from tests.hostile import MARKS, TEXTS, is_plain_page, is_plain_table, shape, steering

SENTENCE = (
    "memrope.window=9: unsaid_identity 0.71 [0.62, 0.80] (2 of 4) ▲, n=32, +1.2 %, Xeon(R) @ 2.70GHz; it's < 5 & more"
)


def test_what_means_nothing_is_written_as_it_is():
    assert escaping.markdown(SENTENCE) == SENTENCE
    assert escaping.terminal(SENTENCE) == escaping.visible(SENTENCE) == escaping.xml(SENTENCE) == SENTENCE
    assert escaping.csv_cell(SENTENCE) == escaping.plot_text(SENTENCE) == SENTENCE
    for text in ("व\u200dक", "日本\u3000語", "é", "🎬"):
        assert escaping.visible(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_markdown_makes_nothing_of_it_wherever_it_stands(text):
    places = "# {0}: more\n\n{0}\n\nwords\n{0}\n\n- {0}: {0}\n- {0}\n\n<b>\n\n{0}\n\n{1}\n|---|---|\n{1}\n\n{0}\n"
    page = places.format(escaping.markdown(text), escaping.markdown_row([text, text]))
    assert is_plain_page(page, ["<b>"])
    assert shape(page) == shape(places.format("words", "| words | words |"))
    in_code = f"x {escaping.code(text)} y"
    assert is_plain_page(in_code)


@pytest.mark.parametrize("text", TEXTS)
def test_no_cell_of_a_table_is_a_formula(text):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([escaping.csv_cell(text), "1"])
    assert is_plain_table(file.getvalue())
    assert not steering(file.getvalue(), "\r\n")


@pytest.mark.parametrize("number", ["-1", "+1.5e-3", "-.5", "-12 %".replace(" ", ""), "-inf", "nan", -1.0, 3, None])
def test_numbers_stay_numbers(number):
    assert escaping.csv_cell(number) == number


@pytest.mark.parametrize("text", TEXTS)
def test_xml_holds_it(text):
    made = ET.Element("a", b=escaping.xml(text))
    made.text = escaping.xml(text)
    whole = ET.tostring(made, encoding="unicode", xml_declaration=True)
    read = ET.fromstring(whole.encode())
    assert read.text == read.get("b") == escaping.xml(text)
    assert not len(read)


@pytest.mark.parametrize("text", ["a", "a-b_c", "", "a b", 'a"]\n[b', "a\\", MARKS.replace("\ud800", ""), "é", "a.b"])
def test_a_key_of_toml_is_the_same_when_it_is_read(text):
    assert tomllib.loads(f"[{escaping.toml_key(text)}.x]\ny = 1") == {text: {"x": {"y": 1}}}


@pytest.mark.parametrize("text", TEXTS)
def test_a_terminal_gets_one_line_and_no_command(text, capsys):
    screen = terminal.Screen(width=60)
    screen.print(text, soft_wrap=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert not steering(out)
    assert "[red]x[/red] :smile:" in out or MARKS not in text
    sheet = terminal.table("a", text, title=text)
    sheet.add_row(text, terminal.line(text, "bold"))
    screen.print(sheet)
    # What nobody has prepared, a bar's description for instance, is harmless too.
    screen.print(Text(text, "red"))
    screen.print(Text.assemble((text, "red"), text))
    with terminal.progress() as bar:
        bar.add_task(text, total=1, rate=text)
    assert not steering(capsys.readouterr().out)


def test_colours_are_ours_alone():
    screen = terminal.Screen(width=2000, force_terminal=True, color_system="standard", file=io.StringIO())
    screen.print(terminal.line(f"a{MARKS}", "red"))
    assert screen.file.getvalue().count("\x1b") == 2
    assert screen.file.getvalue().startswith("\x1b[31ma[red]x[/red]")


def test_lines_that_are_meant_stay_lines(capsys):
    terminal.Screen(width=60).print(terminal.lines("a\n\nb\x1b"))
    assert capsys.readouterr().out == "a\n\nb\\x1b\n"


def test_json_holds_no_command(capsys):
    terminal.print_json({MARKS: MARKS})
    assert not steering(capsys.readouterr().out)


def test_nothing_prints_around_the_console():
    """Consoles of rich read markup and commands; Horizon's does not."""
    for path in Path(terminal.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "Console(" not in text.replace("class Screen(Console):", ""), path
    assert isinstance(terminal.console, Console)
    assert isinstance(terminal.aside, terminal.Screen)
