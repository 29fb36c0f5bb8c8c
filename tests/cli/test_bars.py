"""Progress of commands that do one piece of work after another: a bar on a terminal, lines elsewhere."""

import io
import re

import pytest

from harness.cli.console import terminal
from harness.cli.console.terminal import Screen, progress_over


@pytest.mark.parametrize(("on_terminal", "width"), [(True, 80), (True, 200), (False, 80)])
def test_a_bar_on_a_terminal_says_which_piece_it_is(monkeypatch, on_terminal, width):
    out = io.StringIO()
    monkeypatch.setattr(terminal, "aside", Screen(file=out, force_terminal=on_terminal, width=width, style="dim"))
    with progress_over(["attention_sink", "memrope"], "planning") as names:
        seen = []
        for name in names:
            seen.append(name)
            if on_terminal:
                terminal.aside.print("a note")
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue())
    assert seen == ["attention_sink", "memrope"]
    assert ("━" in text) is on_terminal
    if on_terminal:
        assert "planning memrope" in text
        assert "2 of 2" in text
        assert max(len(row) for row in re.split(r"[\r\n]", text)) <= width
    else:
        assert text == "planning attention_sink, 1 of 2\n"


def test_nothing_to_do_shows_nothing():
    with progress_over([], "planning") as names:
        assert list(names) == []
