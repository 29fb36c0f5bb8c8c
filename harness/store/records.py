"""The readers of a campaign's folder: manifest, cells and records are validated before use.

A folder may come from another machine or a full disk, or may have been edited. Every reader returns plain data of the
declared types, or raises StoreError: one line with the file, the problem, and a remedy that removes nothing. Pictures
are read by `harness.store.pictures`, and views by `harness.films.view_files`, which may import the standard library
only.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import from_json

from harness.errors import StoreError, shown
from harness.files import own, read_bytes
from harness.memory import Boundary
from harness.store.manifest import FORMAT
from harness.store.sample_lines import LARGEST, check_samples, uncollected
from harness.suite import Sample

Status = Literal["ok", "oom", "nan", "timeout", "skipped", "failed"]
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.=,+ -]*$"
"""Pattern of the names of cells and of their files: one component of a path, which cannot leave its folder."""

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    """Plain data of exact types; keys that are not declared are allowed."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Arm(_Model):
    label: str
    strategy: str
    knobs: dict[str, Any]
    tables: list[str]
    weights: dict[str, Any] | None = None
    budget_bytes: Count | None = None
    budget_note: str | None = None


class _Asked(_Model):
    backbone: str
    tier: str
    weights: str | None = None
    dtype: str | None = None
    seed: Count | None = None
    seeds: Annotated[list[Count], Field(min_length=1)] | None = None
    suite_versions: dict[str, str]
    arms: list[_Arm]
    cells: list[Name]
    baseline: str | None = None


class _Run(_Model):
    when: str
    environment: str


class _Checkout(_Model):
    commit: str | None = None


class _Environment(_Model):
    packages: dict[str, str] | None = None
    code: _Checkout | None = None
    device: str = ""


class Manifest(_Model):
    """The contents of `manifest.json`; `harness.store.manifest` describes each part."""

    name: str
    asked: _Asked
    plan: dict[str, tuple[str, str, str, Count, Count]]
    runs: Annotated[list[_Run], Field(min_length=1)]
    environments: dict[str, _Environment]
    codes: dict[str, dict[str, str]]


class _Row(_Model):
    seed: Count
    script: Annotated[list[tuple[Count, str]], Field(min_length=1)]
    vbench: str = ""


class _Task(_Model):
    scenario: str
    frames: Count
    given: Count
    rows: Annotated[list[_Row], Field(min_length=1)]
    boundaries: list[Boundary] = ["smooth"]


class _Cost(_Model):
    chunk_ms: Finite
    cache_bytes: Annotated[Finite, Field(ge=0)]
    archive_bytes: Annotated[Finite, Field(ge=0)] = 0
    switches: list[dict[str, Finite]]


class _Code(_Model):
    digest: str
    shared: str
    metrics: dict[str, str]


class _Elsewhere(_Model):
    file: str
    pictures: Annotated[int, Field(ge=1, le=LARGEST)]


class Cell(_Model):
    """The contents of `cell.json`."""

    status: Status
    reason: str
    attempt: str
    environment: str
    record_sha256: Digest
    backbone: str
    strategy: str
    knobs: dict[str, Any]
    suite: str
    suite_version: str
    skipped_metrics: dict[str, str]
    seconds_per_latent_frame: Annotated[Finite, Field(gt=0)]
    cost: _Cost | Annotated[dict[str, Any], Field(max_length=0)]
    task: _Task
    arm: str = ""
    run: str = ""
    seconds: Finite | None = None
    code: _Code | None = None
    knobs_set: dict[str, Any] | None = None
    knobs_in_full: dict[str, Any] | None = None
    weights: dict[str, Any] | None = None
    machine: dict[str, Any] | None = None
    began_in: list[str] = Field(default_factory=list)
    files: dict[Name, Digest] = Field(default_factory=dict)
    pictures_per_second: Annotated[Finite, Field(gt=0)] | None = None
    pictures_per_latent: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    chunk: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    imported: _Elsewhere | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Raise ValueError where a field is present without another field that it requires."""
        if self.code is not None and (self.knobs_set is None or self.knobs_in_full is None):
            raise ValueError("code without knobs_set and knobs_in_full")
        if self.pictures_per_second is not None and self.pictures_per_latent is None:
            raise ValueError("pictures_per_second without pictures_per_latent")
        return self


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a campaign. Raises StoreError for one that is missing, damaged or of another format."""
    remedy = f"restore {path.name} from a copy, or move it away and run the same command again: finished cells are kept"
    text = _text(path, "no campaign there; make one with: horizon run --out FOLDER", remedy, links=True)
    found = _plain(path, text, remedy)
    if found.get("format") != FORMAT:
        raise StoreError(
            f"{path}: format {shown(found.get('format'))}, this Horizon reads {FORMAT}; run the campaign anew"
        )
    _check(Manifest, path, text, remedy)
    return found


def read_cell(path: str) -> dict[str, Any]:
    """Return the contents of a `cell.json`. Raises StoreError for a file that is missing or damaged, or a link."""
    remedy = f"move {os.path.dirname(path)} away and run the same command again, which makes the cell anew"
    text = _text(path, remedy, remedy)
    found = _plain(path, text, remedy)
    _check(Cell, path, text, remedy)
    return found


def read_record(path: Path, about: Mapping[str, Any]) -> list[list[Any]]:
    """Return the samples of a cell as plain lists: row, metric, latent frame, value.

    Parameters
    ----------
    path
        The record.
    about
        The contents of its `cell.json`, with the checksum of the record and the rollouts of the task.

    Raises StoreError where the record is not the measured one, or contains anything but samples.
    """
    remedy = f"move {path.parent} away and run the same command again, which makes the cell anew"
    text = _text(path, remedy, remedy)
    try:
        if hashlib.sha256(text).hexdigest() != about["record_sha256"]:
            raise ValueError("its contents are not those that were measured")
        with uncollected():
            found: list[list[Any]] = from_json(b"[" + text.rstrip().replace(b"\n", b",") + b"]")
            check_samples(found, len(about["task"]["rows"]))
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"{path}: not a record of Horizon ({error}); {remedy}") from None
    return found


def not_finite(samples: Iterable[Sample]) -> str | None:
    """Return a description of the first value that is not finite; None where all values are finite."""
    for row, metric, frame, value in samples:
        if value is not None and not math.isfinite(value):
            return f"{metric} of rollout {row} is {value} at latent frame {frame}"
    return None


def _text(path: Path | str, missing: str, remedy: str, *, links: bool = False) -> bytes:
    try:
        return read_bytes(path, links=links)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; {missing}") from None
    except OSError as error:
        own(Path(path).parent, Path(path).name)
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None


def _plain(path: Path | str, text: bytes, remedy: str) -> dict[str, Any]:
    try:
        found = from_json(text)
    except ValueError as error:
        raise StoreError(f"{path}: cannot be read ({error}); {remedy}") from None
    if not isinstance(found, dict):
        raise StoreError(f"{path}: not written by Horizon; {remedy}")
    return found


def _check(model: type[BaseModel], path: Path | str, text: bytes, remedy: str) -> None:
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"{path}: damaged ({first_error(error)}); {remedy}") from None


def first_error(error: ValidationError, *within: str) -> str:
    """Return a short description of the first error and its place in the file.

    within: keys in the file that lead to the validated part, from the outermost on.
    """
    wrong = error.errors(include_url=False)[0]
    # For a union, pydantic's location also contains the type, which is not in the file.
    inside = (part for part in map(str, wrong["loc"]) if not part.startswith(("_", "dict[")))
    place = ".".join((*within, *inside))
    if wrong["type"] == "missing":
        return f"{place} is missing"
    words = wrong["msg"].removeprefix("Value error, ")
    if not place:
        return words
    return f"{place} = {shown(wrong['input'])}: {words[0].lower()}{words[1:]}"
