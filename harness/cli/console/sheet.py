"""Tables and texts that fit a terminal: names are cut between their parts, words are not cut at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from harness.escaping import terminal

GAP = 2
"""Spaces between columns."""
WORD = re.compile(r"\S+(?: [^\w\s](?!\S))*")
"""A word, with the marks behind it: a mark never stands alone on a line."""
JOINT = re.compile(r"(?<=[,=/._:-])(?=[A-Za-z])")
"""Where a name of several parts may be cut: "memrope.window=9,sink=1", "attention_sink"."""

NAMED = re.compile(r"\s*[\w*]+(?:, [\w*]+)*: ")
"""The beginning of a line of a docstring that says what a name means."""
NEARLY = 0.85
"""Of the width of a paragraph: a line that long goes on in the next one."""


class Sheet(Table):
    """A table without lines, whose title goes over the whole screen.

    Where it is too wide, long texts are wrapped first, and names are cut between their parts only if nothing else
    helps; numbers are never cut while there is room for them.
    """

    def __init__(self, *heads: str | Text, title: str | None = None) -> None:
        super().__init__(title=title)
        for head in heads:
            self.add_column(head)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [[_told(console, cell) for cell in (column.header, *column.cells)] for column in self.columns]
        needs = [_needs(cells) for cells in columns]
        # A column may be told to be narrower than its cells.
        most = [column.max_width or options.max_width for column in self.columns]
        needs = [
            (min(parts, top), min(words, top), min(whole, top))
            for (parts, words, whole), top in zip(needs, most, strict=True)
        ]
        widths = allotted(needs, options.max_width - GAP * (len(columns) - 1))
        fitted = Table(header_style="dim", box=None, pad_edge=False)
        for column, (head, *_), width in zip(self.columns, columns, widths, strict=True):
            fitted.add_column(cut(head, width), justify=column.justify, width=width, overflow="fold")
        for row in zip(*(cells[1:] for cells in columns), strict=True):
            fitted.add_row(*(cut(cell, width) for cell, width in zip(row, widths, strict=True)))
        if self.title:
            yield Text(terminal(str(self.title)), "bold")
        yield fitted


def allotted(needs: Sequence[tuple[int, int, int]], room: int) -> list[int]:
    """Return the widths of columns that share so much room.

    Parameters
    ----------
    needs
        Of each column: its longest part of a name, its longest word, its longest line.
    """
    widths = [max(parts, 1) for parts, *_ in needs]
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
    # The columns that lack least come first: one long name does not cut the short ones.
    for place in sorted(range(len(needs)), key=lambda each: needs[each][1] - widths[each]):
        lacking = needs[place][1] - widths[place]
        if lacking <= room - sum(widths):
            widths[place] += max(lacking, 0)
    order = sorted(range(len(needs)), key=lambda each: needs[each][2] - widths[each])
    for done, place in enumerate(order):
        share = (room - sum(widths)) // (len(order) - done)
        widths[place] += max(min(needs[place][2] - widths[place], share), 0)
    return widths


def cut(text: Text, width: int) -> Text:
    """Return a text whose lines are at most so wide, with the styles of its parts."""
    rows: list[Text] = []
    for each in text.split("\n", allow_blank=True):
        rows.extend(each.divide(_cuts(each.plain, width)))
    for row in rows:
        row.rstrip()
    return Text("\n").join(rows)


def reflowed(text: str, width: int) -> str:
    """Return a docstring, or several, with the paragraphs wrapped anew that are too wide."""
    return "\n\n".join(_reflowed(paragraph, width) for paragraph in text.split("\n\n"))


def _reflowed(paragraph: str, width: int) -> str:
    """Wrap a paragraph anew, unless it is narrow enough.

    A line goes on with the next one where it is nearly as long as the paragraph is wide, and the next one neither
    begins with a name and a colon nor stands further left.
    """
    told = paragraph.split("\n")
    wide = max(map(len, told))
    if wide <= width:
        return paragraph
    parts: list[list[str]] = []
    for each in told:
        before = parts[-1][-1] if parts else ""
        full = before.strip() and each.strip() and len(before) + 1 + len(each.split()[0]) > NEARLY * wide
        if full and _indent(each) >= _indent(before) and not NAMED.match(each):
            parts[-1].append(each)
        else:
            parts.append([each])
    return "\n".join(_wrapped(part, width) for part in parts)


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def _wrapped(part: list[str], width: int) -> str:
    first, further = (" " * _indent(each) for each in (part[0], part[-1]))
    joined = " ".join(each.strip() for each in part)
    words = wrap(
        joined, width, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(words)


def _told(console: Console, cell: object) -> Text:
    if not isinstance(cell, Text):
        return console.render_str(str(cell))
    plain = "\n".join(map(terminal, cell.plain.split("\n")))
    return cell if plain == cell.plain else Text(plain, cell.style)


def _needs(cells: Sequence[Text]) -> tuple[int, int, int]:
    """The longest part of a name, the longest word and the longest line of a column."""
    rows = [row for cell in cells for row in cell.plain.split("\n")]
    words = [word for row in rows for word in WORD.findall(row)]
    parts = [part for word in words for part in JOINT.split(word)]
    longest = [max(map(cell_len, some), default=0) for some in (parts, words, rows)]
    return longest[0], longest[1], longest[2]


def _cuts(row: str, width: int) -> list[int]:
    """Where a line is cut, in letters from its beginning."""
    cuts: list[int] = []
    begin = 0
    for word in WORD.finditer(row):
        if cell_len(row[begin : word.end()]) <= width:
            continue
        if word.start() > begin:
            begin = word.start()
            cuts.append(begin)
        while cell_len(row[begin : word.end()]) > width and begin + 1 < word.end():
            fits = [end for end in range(begin + 1, word.end()) if cell_len(row[begin:end]) <= width]
            joints = [end for end in fits if JOINT.match(row, end)]
            begin = (joints or fits or [begin + 1])[-1]
            cuts.append(begin)
    return cuts
