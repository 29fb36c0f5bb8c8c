"""Names, prompts and reasons as each medium writes them: one function a medium, which every writer uses.

What comes from a plug-in, a prompt, a folder or an exception is text, and must stay text: it must not become a heading
of a page, a formula of a spreadsheet, a command of a terminal or mathematics of a plot. Pages of HTML are escaped by
their templates, after `visible`.

Only the standard library is imported here: viewers run in environments of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

JOINERS = "\u200c\u200d"
"""Invisible letters that some scripts need within words; they move nothing."""
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that steer what shows them: controls, directions, halves of characters, line breaks."""
FORMULA = "=+-@\t\r\n|%\uff1d\uff0b\uff0d\uff20"
"""With these a spreadsheet lets a formula begin, some of them where East Asian letters are wide."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?|[-+]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_MARKUP = re.compile(
    # Marks that mean something wherever they stand: code, escapes, emphasis, tables, strikes, mathematics.
    r"[\\`*|~$]"
    # HTML, entities, references to issues and to people, unless a space follows.
    r"|[<&#@]\S"
    # An underscore within a word is none of emphasis.
    r"|(?<![^\W_])_|_(?![^\W_])"
    # Links, pictures, footnotes and definitions of links; an interval in brackets is none of them.
    r"|\][\[(:]|!\[|\[\^|\[[ xX]?\]"
    # What is linked without any mark, and signs by their names.
    r"|[A-Za-z]:/|www\.|mailto:|xmpp:|:[A-Za-z][\w+-]*:"
    # At the beginning of a line: lists, headings and underlines of them, rules, quotes,
    # definitions.
    r"|^([-+=]\s|[-=]+$|[-+=_]{2,}|\d+[.)](\s|$)|[>#\[])",
    re.IGNORECASE,
)


def visible(text: object, keep: str = "") -> str:
    """Return a text in which every character that steers what shows it is written as its escape, as Python writes it.

    keep: of such characters, those that stay.
    """
    said = str(text)
    if said.isprintable():
        return said
    return "".join(_escape(each) if _hidden(each) and each not in keep else each for each in said)


def terminal(text: object) -> str:
    """Return a text as one line of a terminal, whose commands it does not give."""
    return visible(text)


def markdown(text: object) -> str:
    """Return a text as part of a line of Markdown, GitHub's included: as it is where nothing in it means anything, else
    as code, in which nothing does."""
    line = visible(" ".join(str(text).split()))
    if not _MARKUP.search(line):
        return line
    return code(line)


def code(text: object) -> str:
    """Return a text as code within a line of Markdown."""
    line = visible(" ".join(str(text).split())) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " * (line[0] == "`" or line[-1] == "`")
    return f"{fence}{room}{line}{room}{fence}"


def markdown_row(cells: Iterable[object]) -> str:
    """Return cells as a line of a table of Markdown, where a bar ends a cell within code, too."""
    return "| " + " | ".join(markdown(cell).replace("|", "\\|") for cell in cells) + " |"


def csv_cell(value: object) -> object:
    """Return a value of a table as a cell of CSV: numbers as they are, and a text that a spreadsheet would take for a
    formula behind an apostrophe, which tells it not to."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    begins = {value[:1], value.lstrip()[:1]} & set(FORMULA)
    return f"'{text}" if begins and not _NUMBER.fullmatch(value) else text


def xml(text: object) -> str:
    """Return a text without the characters that XML 1.0 cannot hold; its marks are escaped by who writes the file."""
    return visible(text)


def plot_text(text: object) -> str:
    """Return a text as a plot draws it, line by line; who draws it sets `parse_math` to False, too."""
    return visible(text, keep="\n")


def toml_key(name: str) -> str:
    """Return a name as a key of TOML: bare where it can be."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    marked = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\U{ord(each):08x}" if _hidden(each) else each for each in marked) + '"'


def _hidden(each: str) -> bool:
    # The last two of every 65,536 are no characters, which XML cannot hold.
    return (unicodedata.category(each) in HIDDEN and each not in JOINERS) or ord(each) & 0xFFFE == 0xFFFE


def _escape(each: str) -> str:
    return ascii(each)[1:-1]
