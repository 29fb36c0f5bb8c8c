"""The card of a dataset: what was measured, its main table, and the commands that make it again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness import escaping
from reports.evaluation import Evaluation
from reports.legend import Legend
from reports.notes import handicapped_arms
from reports.page.answer import answer
from reports.sheets.sheet import Sheet

MANY = 4
"""Most tables on a card; the report has all."""


def card(
    now: Evaluation, sheets: Sequence[Sheet], legend: Legend, licence: str, name: str, commands: Sequence[str]
) -> str:
    """Return a dataset's README.md, with the metadata that the hub reads.

    Parameters
    ----------
    sheets, legend
        The report's tables and their explanations.
    licence
        Licence of the data, by the hub's name for it.
    name
        Name of the dataset on the hub.
    commands
        Commands that make the campaign again.
    """
    asked = now.manifest["asked"]
    title = escaping.visible(now.manifest["name"])
    size = next(each for each, most in _SIZES if len(now.table) < most)
    lines = [
        "---",
        f"license: {json.dumps(licence)}",
        f"pretty_name: {json.dumps(f'Horizon: {title}', ensure_ascii=False)}",
        "tags: [horizon, video-diffusion, kv-cache, long-video, benchmark]",
        f"size_categories: [{size}]",
        "configs:",
    ]
    for table in ("records", "table", "pairs"):
        lines += [f"- config_name: {table}", f"  data_files: data/{table}.parquet"]
        lines += ["  default: true"] if table == "records" else []
    lines += ["---", "", f"# {escaping.markdown(now.manifest['name'])}: which memory keeps a video itself?", ""]
    notes = dict.fromkeys(handicapped_arms(now.found), "handicapped")
    lines += [f"{number}. {escaping.markdown(line)}" for number, line in
              enumerate(answer(now.found, now.arms, now.show, notes), 1)]  # fmt: skip
    versions = ", ".join(f"{suite} {version}" for suite, version in asked.get("suite_versions", {}).items())
    lines += [
        "",
        f"Backbone {escaping.markdown(asked['backbone'])}, tier {escaping.markdown(asked['tier'])}, suites "
        f"{escaping.markdown(versions)}; {len(now.arms)} arms, {len(now.table):,} samples. "
        f"{escaping.markdown(legend.numbers)} {escaping.markdown(legend.marks)}",
    ]
    for sheet in [each for each in sheets if each.rows][:MANY]:
        lines += ["", f"## {escaping.markdown(sheet.title[:1].upper() + sheet.title[1:])}", ""]
        lines += [escaping.markdown_row(sheet.titles), f"|{'---|' * len(sheet.heads)}"]
        lines += [escaping.markdown_row(row) for row in sheet.rows]
    lines += [
        "",
        "## Files",
        "",
        "- `data/records.parquet`: every sample, one a row; `data/table.parquet`: means, intervals and differences to "
        "the baseline; `data/pairs.parquet`: the differences of all pairs of arms.",
        "- `report.html`: the report, which works offline; `manifest.json`: what was asked for, environments and code.",
        "- `.eval_results/horizon.yaml`: entries for the repository of the model that ran.",
        "",
        "## The same again",
        "",
        "```",
        *commands,
        "```",
        "",
        f'`datasets.load_dataset("{name}", "table")` reads the means.',
    ]
    return "\n".join(lines) + "\n"


_SIZES = (
    ("n<1K", 1_000),
    ("1K<n<10K", 10_000),
    ("10K<n<100K", 100_000),
    ("100K<n<1M", 1_000_000),
    ("1M<n<10M", 10_000_000),
    ("10M<n<100M", float("inf")),
)
"""The hub's names for numbers of rows, and the number that each stays below."""
