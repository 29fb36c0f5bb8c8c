"""Folders whose cells were measured on several machines: continued elsewhere, or merged."""

import pytest

from harness.errors import BaselineError
from harness.store.merging import merge
from harness.store.store import Store
from harness.suite import Sample
from reports.gate.evidence import read, united
from reports.gate.policy import declared
from reports.gate.verdicts import EXIT, judge
from reports.tables import tidy
from tests.reports.made import MANIFEST

HERE = {**MANIFEST["environment"], "dtype": "float32", "compile": False}
SET_UPS = [
    {"threads": 2},
    {"cpu": "another cpu"},
    {"attention": "flash-attn"},
    {"device": "cuda:0", "gpu": "H100"},
    {"packages": {"torch": "2.12.0"}},
]


def measured(folder, cells, environment, arm="memrope"):
    """A folder, made or gone on with in an environment, in which these cells are measured."""
    knobs = {"window": 12}
    arms = [{"label": arm, "strategy": arm, "knobs": knobs, "tables": ["as published"], "weights": None}]
    store = Store(folder)
    asked = {**MANIFEST["asked"], "arms": arms, "cells": cells}
    store.begin({"name": "run", "asked": asked, "environment": environment, "when": "2026"})
    about = {
        "backbone": "pocket", "strategy": arm, "arm": arm, "knobs": knobs, "suite": "vram", "suite_version": "1",
        "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "", "cost": {},
        "machine": {"cores": [0]},
        "task": {"scenario": "stream", "frames": 45, "given": 0, "boundaries": ["smooth"], "forced": False,
                 "rows": [{"seed": 0, "script": [[0, "a"]]}]},
    }  # fmt: skip
    samples = [Sample(0, name, end, 1.0) for name in ("cache_bytes", "resident_bytes") for end in range(3, 46, 3)]
    samples += [Sample(0, "peak_bytes", 45, 1.0), Sample(0, "steady_from", 45, 9.0)]
    for cell in cells:
        store.finish(cell, about, samples, {})
    return folder


def two(tmp_path, how, change):
    """A folder with an arm measured here and another one measured elsewhere."""
    elsewhere = {**HERE, **change}
    if how == "continued":
        measured(tmp_path / "run", ["a" * 16], HERE)
        return measured(tmp_path / "run", ["b" * 16], elsewhere, "sliding_window")
    one = measured(tmp_path / "one", ["a" * 16], HERE)
    other = measured(tmp_path / "other", ["b" * 16], elsewhere, "sliding_window")
    merge(tmp_path / "run", [one, other])
    return tmp_path / "run"


@pytest.mark.parametrize("change", SET_UPS, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("how", ["continued", "merged"])
def test_what_was_measured_in_two_environments_is_of_two_cohorts_and_never_passes_a_gate(tmp_path, how, change):
    folder = two(tmp_path, how, change)
    table = tidy(Store(folder))
    assert table.groupby("arm", observed=True)["cohort"].nunique().to_dict() == {"memrope": 1, "sliding_window": 1}
    assert table["cohort"].nunique() == 2
    assert table["environment"].nunique() == 2
    found = read(folder)
    for base in (found, read(measured(tmp_path / "base", ["a" * 16], HERE))):
        verdict = judge(found, base, declared(["vram"]))
        assert (verdict.state, EXIT[verdict.state], verdict.findings) == ("mismatch", 2, ())
        assert any("this run was measured in two environments" in line for line in verdict.differences)


def test_another_commit_is_another_cohort_of_speeds_and_no_matter_to_a_gate(tmp_path):
    folder = two(tmp_path, "continued", {"code": {"commit": "fedcba"}})
    assert tidy(Store(folder))["cohort"].nunique() == 2
    assert read(folder).mixed == []


def test_the_same_command_again_adds_no_run_and_another_machine_adds_one(tmp_path):
    def runs():
        return len(Store(tmp_path / "run").manifest()["runs"])

    measured(tmp_path / "run", ["a" * 16], HERE)
    measured(tmp_path / "run", ["a" * 16], HERE)
    assert runs() == 1
    measured(tmp_path / "run", ["a" * 16], {**HERE, "threads": 4})
    assert runs() == 2
    assert len(Store(tmp_path / "run").manifest()["environments"]) == 2


def test_evidence_of_unlike_campaigns_is_not_put_together(tmp_path):
    one, other = (
        measured(tmp_path / "a", ["a" * 16], HERE),
        measured(tmp_path / "b", ["b" * 16], {**HERE, "threads": 2}),
    )
    with pytest.raises(BaselineError, match=r"does not belong to .*: threads differ"):
        united([read(one), read(other)])
