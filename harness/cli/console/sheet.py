"""Tables and texts that fit a terminal: names are broken between knobs only, and words are not broken.

Into a pipe or a file, a table has one line a row.
"""

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
"""A word with the signs after it, so that a sign is never alone on a line."""
JOINT = re.compile(r"(?<=[,/.:])(?=[A-Za-z])")
"""A position at which a name of several parts may be broken: "memrope.window=9,sink=1"."""
SEAM = re.compile(r"(?<=[=_-])(?=[A-Za-z])")
"""A position at which a part is broken if it is very long, or if not even one column beside it fits."""
LONG = 28
"""Most characters of a part of a name that is never broken while one column beside it fits: "attention_sink"."""
BOUNDLESS = 100_000
"""Characters of a line where nothing limits it."""

NAMED = re.compile(r"\s*[\w*]+(?:, [\w*]+)*: ")
"""The beginning of a docstring's line that describes names, such as "path, name: ..."."""
NEARLY = 0.85
"""Share of a paragraph's width from which a line is taken to continue in the next one."""


class Sheet(Table):
    """A table without rules, whose title may be as wide as the screen.

    If the table is too wide, long texts are wrapped first; then names are broken between their parts; then the columns
    are shown in several tables, each with the first column. Numbers are not broken while there is room for them. Where
    nothing limits the width, every row is one line.
    """

    def __init__(self, *heads: str | Text, title: str | None = None) -> None:
        super().__init__(title=title)
        for head in heads:
            self.add_column(head)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [[_told(console, cell) for cell in (column.header, *column.cells)] for column in self.columns]
        if self.title:
            yield Text(terminal(str(self.title)), "bold")
        if options.max_width >= BOUNDLESS:
            yield from _flat(columns, [column.justify == "right" for column in self.columns])
            return
        needs = [_needs(cells) for cells in columns]
        # The maximum width of a column may be smaller than its cells.
        most = [column.max_width or options.max_width for column in self.columns]
        needs = [
            (min(parts, top), min(words, top), min(whole, top))
            for (parts, words, whole), top in zip(needs, most, strict=True)
        ]
        for place, some in enumerate(blocks(needs, options.max_width)):
            if place:
                yield Text("")
            yield self._fitted([columns[at] for at in some], [needs[at] for at in some], some, options.max_width)

    def _fitted(
        self, columns: list[list[Text]], needs: list[tuple[int, int, int]], places: list[int], room: int
    ) -> Table:
        widths = allotted(needs, room - GAP * (len(columns) - 1))
        fitted = Table(header_style="dim", box=None, pad_edge=False)
        for place, (head, *_), width in zip(places, columns, widths, strict=True):
            justify = self.columns[place].justify
            fitted.add_column(cut(head, width), justify=justify, width=width, overflow="fold")
        for row in zip(*(cells[1:] for cells in columns), strict=True):
            fitted.add_row(*(cut(cell, width) for cell, width in zip(row, widths, strict=True)))
        return fitted


def blocks(needs: Sequence[tuple[int, int, int]], room: int) -> list[list[int]]:
    """Return the places of the columns of each table that a table is split into: one table while the parts of its names
    fit. The first column is in each of them, and no other one twice.

    Parameters
    ----------
    needs
        As for `allotted`.
    room
        Characters of a line, gaps included.
    """
    if sum(parts + GAP for parts, *_ in needs) - GAP <= room or len(needs) <= 2:
        return [list(range(len(needs)))]
    found = [[0]]
    first = needs[0][0]
    left = room - first
    for place, (_, words, _) in enumerate(needs[1:], 1):
        if len(found[-1]) > 1 and left < words + GAP:
            found.append([0])
            left = room - first
        found[-1].append(place)
        left -= words + GAP
    return found


def _flat(columns: Sequence[Sequence[Text]], right: Sequence[bool]) -> RenderResult:
    """Yield the rows of a table, one line each, the heading first."""
    cells = [[Text(" ").join(cell.split("\n")) for cell in column] for column in columns]
    widths = [max(cell_len(cell.plain) for cell in column) for column in cells]
    for number, row in enumerate(zip(*cells, strict=True)):
        told = Text(style="" if number else "dim")
        for cell, width, at_right in zip(row, widths, right, strict=True):
            room = " " * (width - cell_len(cell.plain))
            told.append_text(Text(room) + cell if at_right else cell + Text(room))
            told.append(" " * GAP)
        told.rstrip()
        yield told


def allotted(needs: Sequence[tuple[int, int, int]], room: int) -> list[int]:
    """Return the widths of columns that share a number of characters.

    Parameters
    ----------
    needs
        For each column, the widths of its longest part of a name, its longest word and its longest line.
    room
        Characters of all columns together.
    """
    widths = [max(parts, 1) for parts, *_ in needs]
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
    # Columns that lack least are widened first, so that one long name does not break the short ones.
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
    """Return a text broken into lines of at most `width` characters, with its styles."""
    rows: list[Text] = []
    for each in text.split("\n", allow_blank=True):
        rows.extend(each.divide(_cuts(each.plain, width)))
    for row in rows:
        row.rstrip()
    return Text("\n").join(rows)


def reflowed(text: str, width: int) -> str:
    """Return a docstring, or several, in which paragraphs wider than `width` characters are wrapped again."""
    return "\n\n".join(_reflowed(paragraph, width) for paragraph in text.split("\n\n"))


def _reflowed(paragraph: str, width: int) -> str:
    """Return a paragraph that is wrapped again if it is too wide.

    A line is joined with the next one if it is nearly as long as the paragraph is wide, and the next one neither begins
    with a name and a colon nor is indented less.
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
    """Return the widths of the longest part of a name, the longest word and the longest line of a column."""
    rows = [row for cell in cells for row in cell.plain.split("\n")]
    words = [word for row in rows for word in WORD.findall(row)]
    whole = [part for word in words for part in JOINT.split(word)]
    parts = [each for part in whole for each in (SEAM.split(part) if len(part) > LONG else [part])]
    longest = [max(map(cell_len, some), default=0) for some in (parts, words, rows)]
    return longest[0], longest[1], longest[2]


def _cuts(row: str, width: int) -> list[int]:
    """Return the positions at which a line is broken, in characters from its beginning."""
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
            joints = [end for end in fits if JOINT.match(row, end)] or [end for end in fits if SEAM.match(row, end)]
            begin = (joints or fits or [begin + 1])[-1]
            cuts.append(begin)
    return cuts
