"""The table of README.md, from a campaign's folder: exactly its rows, as Markdown.

nox -s compare; python -m tests.benchmarks.readme_table runs/compare
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reports.report import render
from reports.sheets.sheet import Sheet

COLUMNS = (
    ("as published", "cache (kB)", "cache (kB)"),
    ("as published", "distance to full (%)", "distance to full (%)"),
    ("as published", "unsaid identity", "unsaid identity after 60 s"),
    ("as published", "itself for (s)", "itself for (s)"),
    ("as published", "latest state", "latest state"),
    ("as published", "after an occlusion", "after an occlusion"),
    ("prompt switches", "back after 5 s", "first scene back"),
    ("prompt switches", "second scene back", "second scene back"),
)
"""Table of the report, its heading there, and its heading in the README."""


def lines(sheets: Sequence[Sheet]) -> list[str]:
    """Return the lines of the table; an arm without a number after a minute (`full`) is not in it."""
    by_title = {sheet.title: sheet for sheet in sheets}
    heads, rows = ["strategy"], {row[0]: [f"`{row[0]}`"] for row in by_title["as published"].rows}
    for title, head, shown in COLUMNS:
        sheet = by_title[title]
        place = sheet.heads.index(head)
        count = sheet.counts[place]
        heads.append(f"{shown}, {count}" if count else shown)
        cells = {row[0]: row[place] for row in sheet.rows}
        for arm, row in rows.items():
            row.append(cells.get(arm, "n/a"))
    shown_rows = [row for _, row in sorted(rows.items()) if row[3] != "n/a"]
    return ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *shown_rows)]


def main() -> None:
    """Print the table."""
    _, sheets, _ = render(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/compare"))
    print("\n".join(lines(sheets)))


if __name__ == "__main__":
    main()
