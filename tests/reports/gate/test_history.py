"""Steps in made-up series: those that are there, at the run at which they are, and no others."""

import numpy as np
import pytest

from harness.errors import HorizonError, StoreError
from reports.gate.evidence import save
from reports.gate.history import draw, load, steps
from tests.reports.made import MANIFEST, evidence, launches

BYTES = 266_240


def kept(folder, milliseconds, sizes=None, identity=None):
    folder.mkdir(exist_ok=True)
    for number, level in enumerate(milliseconds):
        values = {("memrope", "chunk_p50_ms"): launches(number, level=level)}
        values["memrope", "cache_bytes"] = [BYTES if sizes is None else sizes[number]] * 2
        values["memrope", "unsaid_identity"] = np.full(16, 0.9 if identity is None else identity[number])
        about = {**MANIFEST, "when": f"2026-11-{number + 1:02}T00:00:00+00:00"}
        about["environment"] = {**about["environment"], "code": {"commit": f"{number:040x}"}}
        # Names are in another order than times.
        save(evidence(values, about), folder / f"run-{99 - number}.parquet")


def found(folder, metrics=None):
    return {(each.metric): each for each in steps(load(folder), metrics)}


def test_a_step_is_found_where_it_is(tmp_path):
    kept(tmp_path, [20.0] * 8 + [22.0] * 6, sizes=[BYTES] * 4 + [BYTES // 2] * 10)
    series = found(tmp_path)
    (slower,) = series["chunk_p50_ms"].steps
    assert (slower.place, slower.run, slower.commit) == (8, "run-91", f"{8:040x}"[:9])
    assert slower.worse
    assert slower.after / slower.before == pytest.approx(1.1, abs=0.02)
    (smaller,) = series["cache_bytes"].steps
    assert (smaller.place, smaller.told, smaller.worse) == (4, "-50.0 %", False)
    assert not series["unsaid_identity"].steps


def test_noise_drift_within_margins_and_single_outliers_are_no_steps(tmp_path):
    level = [20.0, 20.1, 19.9, 20.0, 26.0, 20.0, 20.1, 20.0, 20.2, 20.1, 20.3, 20.2]
    kept(tmp_path, level, identity=[0.9] * 6 + [0.88] * 6)
    series = found(tmp_path)
    assert not series["chunk_p50_ms"].steps
    assert not series["unsaid_identity"].steps


def test_few_runs_have_no_steps_and_false_ones_are_rare(tmp_path):
    kept(tmp_path / "few", [20.0, 20.0, 30.0, 30.0])
    assert not found(tmp_path / "few")["chunk_p50_ms"].steps
    kept(tmp_path / "many", [20.0] * 40)
    assert not found(tmp_path / "many")["chunk_p50_ms"].steps


def test_a_run_that_lost_its_hardest_rollouts_has_not_become_better(tmp_path):
    easy, hard = [0.9] * 8, [0.3] * 8
    for number in range(12):
        values = {("memrope", "unsaid_identity"): easy + hard if number < 6 else easy}
        about = {**MANIFEST, "when": f"2026-11-{number + 1:02}T00:00:00+00:00"}
        save(evidence(values, about), tmp_path / f"run-{number:02}.parquet")
    (series,) = steps(load(tmp_path))
    assert series.values == pytest.approx([0.9] * 12)
    assert series.count == "n=8 of 16"
    assert not series.steps


def test_the_picture_is_drawn(tmp_path):
    kept(tmp_path / "runs", [20.0] * 6 + [24.0] * 6)
    draw(steps(load(tmp_path / "runs")), tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 10_000


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        load(tmp_path / "none")
    with pytest.raises(StoreError, match="no run in it"):
        load(tmp_path)
    kept(tmp_path, [20.0] * 2)
    with pytest.raises(HorizonError, match=r"--metric latency.nothing: not in these runs; there are: drift"):
        steps(load(tmp_path), ["latency.nothing"])
    other = {**MANIFEST, "environment": {**MANIFEST["environment"], "cpu": "another"}, "when": "2027"}
    save(evidence({("memrope", "chunk_p50_ms"): launches(1)}, other), tmp_path / "other.parquet")
    with pytest.raises(HorizonError, match=r"is of another cohort than .*: cpu"):
        load(tmp_path)
