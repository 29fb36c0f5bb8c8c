"""Text that is markup or code in some medium, and checks that no output interprets it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata

from markdown_it import MarkdownIt

MARKS = (
    "[red]x[/red] :smile: <b>&amp;</b> </details> <!-- [l](http://evil.example) ![i](http://evil.example/i.png) "
    "www.evil.example a@evil.example @someone #12 | *y* __z__ ~~s~~ $x_{$ ``c` \\ \x1b[2J\x1b]0;t\x07 \u202e\u2066 "
    "\x00 \x7f \x9b31m \ufffe\n## heading\r- item\u2028> quote\u2029\ud800 end"
)
BEGINNINGS = (
    "=cmd|'/c calc'!A1", "+1+cmd", "-1+cmd", "@SUM(A1)", "\t=1", " =1", "\uff1d1", "# heading", "    code", "- item",
    "1. item", "> quote", "[a]: http://evil.example", "[x] done", "---", "===", "-", "```sh", "`", "<details>", "|",
    "_all_", "",
)  # fmt: skip
TEXTS = tuple(f"{beginning} {MARKS}" for beginning in BEGINNINGS) + BEGINNINGS[:-1]
NAME = "=1 # <b> [l](http:evil.example) www.evil.example [red] $x_{$ \x1b[2J\u202e\n## heading"
"""What a folder can be called, as well as everything else."""
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|[-+]?(nan|inf)")
LINKED = re.compile(r"@\w|\$|www\.|://|#\d|mailto:|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tokens(text):
    """Return the tokens of a page of Markdown, raw HTML and tables included."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def shape(text):
    """Return the blocks of a page, in order."""
    return [(token.type, token.tag) for token in tokens(text)]


def is_plain_page(text, html=()):
    """Return whether a page holds no link, no raw HTML but `html`, and no picture but its own plots."""
    for token in tokens(text):
        if token.type == "html_block" and token.content.strip() not in html:
            return False
        for child in token.children or ():
            own = child.type == "image" and str(child.attrs["src"]).startswith("plots/")
            if child.type not in ("text", "softbreak", "code_inline") and not own:
                return False
            if child.type == "text" and (LINKED.search(child.content) or steering(child.content)):
                return False
    return True


def is_plain_table(text):
    """Return whether no cell of a CSV file is a formula."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    cells = [cell for row in rows for cell in row]
    return len({len(row) for row in rows}) == 1 and not any(
        cell.strip()[:1] in tuple("=+-@\t\r\uff1d") and cell.strip() and not NUMBER.fullmatch(cell) for cell in cells
    )


def steering(text, keep="\n"):
    """Return the control characters in a text."""
    return [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each not in keep]
