"""Escaping of names, prompts and reasons: one function for each medium, which all writers of that medium use.

Text from a plug-in, a prompt, a folder or an exception must not be interpreted: it must not become a heading of a page,
a formula of a spreadsheet, a command of a terminal or mathematics of a plot. Pages of HTML are escaped by their
templates, after `visible`.

Only the standard library is imported here, because viewers run in their own environments.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

JOINERS = "\u200c\u200d"
"""Invisible characters that some writing systems need within words; they do not affect the display of other text."""
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that control the display: controls, formats such as text direction, surrogates, line
and paragraph separators."""
FORMULA = "=+-@\t\r\n|%\uff1d\uff0b\uff0d\uff20"
"""Characters with which a formula of a spreadsheet can begin; the last four are the full-width forms of the first."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?|[-+]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_MARKUP = re.compile(
    # Characters with a meaning in any position: code, escapes, emphasis, tables, strikethrough, mathematics.
    r"[\\`*|~$]"
    # HTML, entities, references to issues and to users, unless a space follows.
    r"|[<&#@]\S"
    # Emphasis; an underscore within a word is plain text.
    r"|(?<![^\W_])_|_(?![^\W_])"
    # Links, pictures, footnotes, definitions of links and check boxes; an interval in brackets is plain text.
    r"|\][\[(:]|!\[|\[\^|\[[ xX]?\]"
    # Addresses that are linked automatically, and emoji by name.
    r"|[A-Za-z]:/|www\.|mailto:|xmpp:|:[A-Za-z][\w+-]*:"
    # At the beginning of a line: lists, headings and their underlines, rules, quotes, definitions.
    r"|^([-+=]\s|[-=]+$|[-+=_]{2,}|\d+[.)](\s|$)|[>#\[])",
    re.IGNORECASE,
)


def visible(text: object, keep: str = "") -> str:
    """Return a text in which each character that controls the display is replaced by its Python escape.

    Parameters
    ----------
    text
        Any value; `str` of it is used.
    keep
        Control characters that are not replaced.
    """
    said = str(text)
    if said.isprintable():
        return said
    return "".join(_escape(each) if _hidden(each) and each not in keep else each for each in said)


def terminal(text: object) -> str:
    """Return a text as one line for a terminal, without control sequences."""
    return visible(text)


def markdown(text: object) -> str:
    """Return a text for a line of Markdown, also on GitHub: as inline code if it contains markup, else unchanged."""
    line = visible(" ".join(str(text).split()))
    if not _MARKUP.search(line):
        return line
    return code(line)


def code(text: object) -> str:
    """Return a text as inline code of Markdown."""
    line = visible(" ".join(str(text).split())) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " * (line[0] == "`" or line[-1] == "`")
    return f"{fence}{room}{line}{room}{fence}"


def markdown_row(cells: Iterable[object]) -> str:
    """Return cells as a row of a Markdown table; bars are escaped, because they end a cell within inline code too."""
    return "| " + " | ".join(markdown(cell).replace("|", "\\|") for cell in cells) + " |"


def csv_cell(value: object) -> object:
    """Return a value of a table as a cell of CSV.

    Numbers are unchanged. A text that a spreadsheet would read as a formula gets an apostrophe before it, so that it is
    read as text.
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    begins = {value[:1], value.lstrip()[:1]} & set(FORMULA)
    return f"'{text}" if begins and not _NUMBER.fullmatch(value) else text


def xml(text: object) -> str:
    """Return a text without the characters that XML 1.0 forbids; the writer of the file escapes the markup."""
    return visible(text)


def plot_text(text: object) -> str:
    """Return a text for a plot, with its line breaks; the caller must also set `parse_math` to False."""
    return visible(text, keep="\n")


def toml_key(name: str) -> str:
    """Return a name as a key of TOML: bare where TOML allows it, else quoted."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    marked = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\U{ord(each):08x}" if _hidden(each) else each for each in marked) + '"'


def _hidden(each: str) -> bool:
    # The last two code points of every plane of 65,536 are non-characters, which XML forbids.
    return (unicodedata.category(each) in HIDDEN and each not in JOINERS) or ord(each) & 0xFFFE == 0xFFFE


def _escape(each: str) -> str:
    return ascii(each)[1:-1]
