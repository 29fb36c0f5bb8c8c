"""Evidence that a gate compares: every score of every rollout and repeat, and the environment; read from a campaign's
folder, or from the single file of a baseline."""

from __future__ import annotations

import getpass
import hashlib
import json
import subprocess
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import BaselineError, HorizonError, StoreError
from harness.files import own, write_open
from harness.locks import lock
from harness.store.manifest import SHARED, shared
from harness.store.store import Store
from reports.arms import entrants
from reports.pool import Snapshot
from reports.tables import Trouble, scores, tidy, troubles_by_arm

FORMAT = 1
"""Format version of a baseline's file; other versions are refused."""
KEY = b"horizon"
COLUMNS = (
    "arm", "suite", "scenario", "horizon_latent_frames", "horizon_seconds", "metric", "unit", "better", "prompt",
    "seed", "repeat", "value",
)  # fmt: skip
ENVIRONMENT = ("cpu", "cores", "threads", "gpu", "device", "attention", "python")
PACKAGES = ("torch", "flash-attn")


@dataclass(frozen=True)
class Evidence:
    """Scores with the columns `COLUMNS`, one row a rollout (or repeat), scenario and metric.

    source: where it was read. manifest: the request, and the environment of all numbers; where they were made in
    several, its entry `mixed` says what differs. troubles: cells without numbers.
    accepted: who made it a baseline, when and why, the latest last.
    """

    source: Path
    manifest: Mapping[str, Any]
    scores: pd.DataFrame
    troubles: Sequence[Trouble] = ()
    accepted: Sequence[Mapping[str, str]] = field(default=())

    @property
    def commit(self) -> str:
        """Short commit of the code; "?" where it is not known."""
        return ((self.manifest["environment"].get("code") or {}).get("commit") or "?")[:9]

    def cohort(self) -> dict[str, Any]:
        """Return what must be equal for numbers to be compared: recipe, hardware and software."""
        asked, environment = self.manifest["asked"], self.manifest["environment"]
        packages = environment.get("packages") or {}
        return {
            **{key: shared(asked, key) for key in SHARED},
            **{key: environment.get(key) for key in ENVIRONMENT},
            **{name: packages.get(name) for name in PACKAGES},
        }

    @property
    def mixed(self) -> list[str]:
        """Return what differs between its own numbers, in words."""
        return list(self.manifest.get("mixed") or ())

    def unlike(self, other: Evidence) -> list[str]:
        """Return the cohort entries that differ from another evidence, except the seed."""
        theirs = other.cohort()
        return [key for key, value in self.cohort().items() if key != "seed" and value != theirs[key]]

    def suites(self) -> dict[str, str]:
        """Return the version of each suite."""
        found: dict[str, str] = self.manifest["asked"]["suite_versions"]
        return found


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean.
def read(path: Path) -> Evidence:
    """Return the evidence in a campaign's folder, or in a file of `accept`.

    Raises StoreError or BaselineError for what is missing, damaged, in another format, or was changed by hand.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise BaselineError(
            f"{path}: no such baseline; make one with: horizon baseline accept RUN --to {path} --why TEXT"
        )
    return _file(path)


def united(parts: Sequence[Evidence]) -> Evidence:
    """Return the evidence of one code from several campaigns: other suites, more seeds, more repeats.

    Raises BaselineError where their cohorts differ in more than the seed.
    """
    first = parts[0]
    asked = dict(first.manifest["asked"])
    for part in parts[1:]:
        off = part.unlike(first)
        if off:
            raise BaselineError(f"{part.source} does not belong to {first.source}: {', '.join(off)} differ")
        arms = {arm["label"]: arm for arm in (*part.manifest["asked"]["arms"], *asked["arms"])}
        asked |= {"arms": list(arms.values()), "suite_versions": {**part.suites(), **asked["suite_versions"]}}
    beside = next((part.manifest["beside"] for part in parts if "beside" in part.manifest), None)
    return Evidence(
        first.source,
        {**first.manifest, "asked": asked, "beside": beside},
        pd.concat([part.scores for part in parts], ignore_index=True),
        tuple(trouble for part in parts for trouble in part.troubles),
        first.accepted,
    )


def nothing(like: Evidence) -> Evidence:
    """Return evidence of the same cohort without any numbers."""
    return replace(like, scores=like.scores.iloc[:0], troubles=(), accepted=())


def only_arms(evidence: Evidence, arms: Container[str]) -> Evidence:
    """Return the evidence of some arms only."""
    scores = evidence.scores
    troubles = tuple(trouble for trouble in evidence.troubles if trouble.arm in arms)
    return replace(evidence, scores=scores[[arm in arms for arm in scores["arm"]]], troubles=troubles)


def accept(evidence: Evidence, to: Path, why: str, who: str | None = None) -> dict[str, str]:
    """Write evidence to a file as the baseline, with who, when and why, after the notes of previous baselines.

    Raises BaselineError where the file exists and is not a valid baseline; it is not overwritten then.
    """
    if to.suffix != ".parquet":
        raise BaselineError(f"--to {to}: a baseline is one file; give a name that ends in .parquet")
    if not why.strip():
        raise BaselineError("--why is empty; say in a few words why this is the baseline from now on")
    if to.exists():
        # Validate before locking, so that a refusal leaves no lock file behind.
        read(to)
    note = {
        "who": who or _who(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "why": why.strip(),
        "commit": evidence.commit,
    }
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        # With two concurrent commands, the second one appends to the first one's notes.
        with lock(own(to.parent, f".{to.name}.lock")):
            before = read(to).accepted if to.exists() else ()
            save(replace(evidence, accepted=(*before, note)), to)
    except StoreError:
        raise
    except OSError as error:
        raise BaselineError(f"cannot write {to}: {error.strerror or error}") from None
    return note


def save(evidence: Evidence, to: Path) -> None:
    """Write evidence into one file that `read` reads, as a whole or not at all."""
    about = {
        "format": FORMAT,
        "manifest": dict(evidence.manifest),
        "troubles": [list(trouble) for trouble in evidence.troubles],
        "accepted": [dict(note) for note in evidence.accepted],
    }
    table = pa.Table.from_pandas(evidence.scores[list(COLUMNS)].astype(_KINDS), preserve_index=False)
    text = json.dumps({**about, "sha256": _digest(table.to_pandas(), about)})
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: text.encode()})
    write_open(to, partial(pq.write_table, table))


_KINDS = {
    **dict.fromkeys(("arm", "suite", "scenario", "metric", "unit", "better", "prompt"), "str"),
    **dict.fromkeys(("horizon_latent_frames", "seed", "repeat"), "int64"),
    **dict.fromkeys(("horizon_seconds", "value"), "float64"),
}


def _folder(path: Path) -> Evidence:
    store = Snapshot(path)
    manifest = store.manifest()
    try:
        missing = set(manifest["asked"]["cells"]) - {cell.id for cell in store.cells()}
        if missing:
            raise StoreError(f"{path}: {len(missing)} of its cells are not there yet; run the same command again")
        labels = {(each.strategy, each.knobs): each.label for each in entrants(store)}
        scored = pd.DataFrame(columns=list(COLUMNS)).astype(_KINDS)
        if any(cell.status == "ok" for cell in store.cells()):
            scored = scores(tidy(store)).astype({"strategy": "str", "knobs": "str"})
            arms = [labels[key] for key in zip(scored["strategy"], scored["knobs"], strict=True)]
            scored = scored.assign(arm=arms)[list(COLUMNS)]
        found = Evidence(path, _about(store, manifest), scored, tuple(troubles_by_arm(store)))
        # Compute now what is read later, so that errors occur here.
        found.cohort(), found.suites().items(), found.commit
    except HorizonError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise StoreError(f"{path}: not as Horizon writes it ({type(error).__name__}: {error}); run it anew") from None
    return found


def _about(store: Store, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a folder's manifest that evidence keeps, with the environment of its finished cells."""
    run = manifest["runs"][0]
    asked, cells = manifest["asked"], {cell.id: cell.about for cell in store.cells() if cell.status == "ok"}
    used = [cells[cell]["environment"] for cell in asked["cells"] if cell in cells] or [run["environment"]]
    environments = [manifest["environments"].get(key, {}) for key in dict.fromkeys(used)]
    kept = {key: value for key, value in manifest.items() if key in ("name", "beside")}
    found = {**kept, "asked": asked, "when": run["when"], "environment": environments[0]}
    cohorts = [Evidence(store.folder, {**found, "environment": each}, pd.DataFrame()).cohort() for each in environments]
    mixed = {key: list(dict.fromkeys(str(cohort[key]) for cohort in cohorts)) for key in cohorts[0]}
    differing = [f"{key}: {' and '.join(values)}" for key, values in mixed.items() if len(values) > 1]
    return {**found, "mixed": differing} if differing else found


def _file(path: Path) -> Evidence:
    try:
        # Reader threads of pyarrow may outlive the command on invalid files and abort it, so none are used.
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)
        told = (table.schema.metadata or {}).get(KEY)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    if told is None:
        raise BaselineError(f"{path}: a Parquet file, but no baseline of Horizon; make one: horizon baseline accept")
    try:
        about = json.loads(told)
        if about["format"] != FORMAT:
            raise BaselineError(f"{path}: format {about['format']}, this Horizon reads {FORMAT}; accept a run anew")
        digest = about.pop("sha256")
        frame = table.to_pandas()
        if list(frame.columns) != list(COLUMNS) or _digest(frame, about) != digest:
            raise BaselineError(
                f"{path}: it was changed after it was accepted; restore it, or move it away and accept a run anew"
            )
        troubles = tuple(map(_trouble, about["troubles"]))
        return Evidence(path, about["manifest"], frame, troubles, tuple(about["accepted"]))
    except BaselineError:
        raise
    except pa.ArrowException as error:
        raise _damaged(path, error) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BaselineError(f"{path}: not written by Horizon ({type(error).__name__}); accept a run anew") from None


def _trouble(told: Sequence[Any]) -> Trouble:
    """Return a trouble in the form that `save` writes; older files do not say which rollouts it is about."""
    arm, suite, scenario, status, reason, *more = told
    frames, rollouts = more or (0, ())
    names = tuple((str(prompt), int(seed)) for prompt, seed in rollouts)
    return Trouble(arm, suite, scenario, status, reason, int(frames), names)


def _damaged(path: Path, error: Exception) -> BaselineError:
    said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return BaselineError(
        f"{path}: not a whole Parquet file ({said}); restore it, or move it away and accept a run anew"
    )


def _digest(frame: pd.DataFrame, about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(pd.util.hash_pandas_object(frame.astype(_KINDS), index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _who() -> str:
    try:
        done = subprocess.run(
            ["git", "config", "user.name"],
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return _user()
    return done.stdout.strip() or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the user id may have no name.
        raise BaselineError("this user has no name here; say with --who who accepts the baseline") from None
