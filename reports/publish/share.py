"""A campaign as a dataset: Parquet, manifest, a card with the numbers and the command, and results for model pages."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from harness import escaping
from harness.errors import StoreError
from harness.files import own, write_open, write_text
from harness.store.store import MANIFEST
from reports.evaluation import Evaluation, evaluate
from reports.page.answer import deciding, first_table
from reports.page.rollouts import command
from reports.publish.card import card
from reports.report import render

HUB = "hf://datasets/"
TABLES = ("records", "table", "pairs")
LICENCE = "cc-by-4.0"


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean or spread.
def share(folder: Path, to: str, licence: str = LICENCE, private: bool = False) -> str:
    """Write a campaign as a dataset into a folder, or upload it to the Hugging Face Hub.

    Parameters
    ----------
    folder
        The campaign's folder.
    to
        A folder, or hf://datasets/NAME/OF-IT; the hub makes the viewer and Croissant metadata from the Parquet files.
    licence
        Licence of the data, by the hub's name for it.
    private
        Whether a new dataset on the hub is private.

    Returns
    -------
    str
        The folder, or the dataset's address.

    Raises
    ------
    StoreError
        For a folder without a campaign or a finished cell, a name that is none of a dataset, and a failed upload.
    """
    if not to.startswith("hf://"):
        write(folder, Path(to), licence)
        return to
    name = to.removeprefix(HUB).strip("/")
    if not to.startswith(HUB) or name.count("/") != 1:
        raise StoreError(f"{to}: not a dataset; give a folder or {HUB}OWNER/NAME")
    with tempfile.TemporaryDirectory(prefix="horizon-") as beside:
        write(folder, Path(beside), licence, name)
        return _upload(Path(beside), name, private)


def write(folder: Path, place: Path, licence: str = LICENCE, name: str = "OWNER/NAME") -> list[Path]:
    """Write a campaign as a dataset into a folder; return its files.

    Parameters
    ----------
    name
        Name of the dataset on the hub, for its card.
    """
    if (place / MANIFEST).exists() and not (place / "README.md").exists():
        raise StoreError(f"{place} is a campaign's folder; give --to another place")
    now = evaluate([folder])
    own(place, "data")
    written, sheets, legend = render(folder, out=place, copy_films=True)
    made = []
    for table, frame in zip(TABLES, (now.table, now.found.rows, now.found.pairs), strict=True):
        path = place / "data" / f"{table}.parquet"
        write_open(path, frame.to_parquet)
        made.append(path)
    (place / "records.parquet").unlink()
    texts = {
        MANIFEST: json.dumps(now.manifest, indent=1, ensure_ascii=False) + "\n",
        "README.md": card(now, sheets, legend, licence, name, _commands(now)),
        ".eval_results/horizon.yaml": results(now, name),
    }
    for file, text in texts.items():
        write_text(place / file, text)
        made.append(place / file)
    return [*made, *(path for path in written if path.exists())]


def results(now: Evaluation, name: str) -> str:
    """Return the entries of a model repository's `.eval_results`: the score that the page ranks by, one an arm.

    The file is for the repository of the model that ran, whose page then shows the numbers.
    """
    column = deciding(now.found, now.show)
    if column is None:
        return "[]\n"
    part = first_table(column, now.found.rows)
    when = str(now.manifest["runs"][-1]["when"])[:10]
    lines = []
    for row in part.itertuples():
        if not row.count:
            continue
        task = f"{column.suite}-{column.column.scenario}-{column.column.score}"
        notes = (
            f"{row.arm}: {column.column.heading}, {row.unit}, n={row.count}, 95 % interval "
            f"{row.low:.4g} to {row.high:.4g}, videos of {row.horizon_seconds:g} s"
        )
        lines += [
            "- dataset:", f"    id: {_quoted(name)}", f"    task_id: {_quoted(task)}",
            f"  value: {float(row.mean):.6g}", *([f"  date: {_quoted(when)}"] if when else []),
            "  source:", f"    url: {_quoted(f'https://huggingface.co/datasets/{name}')}", "    name: Horizon",
            f"  notes: {_quoted(notes)}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n" if lines else "[]\n"


def _quoted(text: str) -> str:
    """Return a text as a scalar of YAML: JSON's strings are such."""
    return json.dumps(escaping.visible(text), ensure_ascii=False)


def _commands(now: Evaluation) -> list[str]:
    suites = " --suite ".join(now.show.displays)
    return list(dict.fromkeys(command(arm, now.stores).replace("SUITE", suites) for arm in now.arms))


def _upload(place: Path, name: str, private: bool) -> str:
    """Upload a folder as a dataset; return its address."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise StoreError("huggingface_hub is not installed: pip install huggingface_hub") from None
    hub = HfApi()
    try:
        hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=name, repo_type="dataset", folder_path=place, commit_message="Campaign of Horizon",
        )  # fmt: skip
    except (HfHubHTTPError, OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise StoreError(f"{HUB}{name}: {first}; log in with: hf auth login") from None
    return f"https://huggingface.co/datasets/{name}"
