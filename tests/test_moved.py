"""Names of modules that third parties imported go on to work."""

import importlib
import sys

import pytest

from harness.moved import MOVED
from harness.provenance.code import source_file
from tests import zygote


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_is_the_module_by_its_new_name(old):
    new = importlib.import_module(MOVED[old])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        found = importlib.import_module(old)
    assert found is new
    assert new.__spec__.name == MOVED[old]
    assert source_file(old) == source_file(MOVED[old])


def test_what_is_documented_is_imported_as_before():
    from harness.backbone.checkpoints import load_checkpoint
    from harness.campaign import make_campaign
    from harness.films import read_films
    from harness.memory import Memory, MemorySpec, Strategy
    from harness.plan import plan
    from harness.rollout import Chunk, rollout
    from harness.store import Store, merge
    from harness.suite import CostSuite, Metric, PictureMetric, QualitySuite, Sample, Task
    from harness.verify import verify

    found = [load_checkpoint, make_campaign, read_films, Memory, MemorySpec, Strategy, plan, Chunk, rollout, Store]
    found += [merge, CostSuite, Metric, PictureMetric, QualitySuite, Sample, Task, verify]
    assert all(map(callable, found))


def test_a_name_that_never_was_is_no_module():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("harness.drawer")


@pytest.mark.nightly
def test_a_module_is_run_by_its_old_name(tmp_path):
    """As a script of somebody's calls it, with python -m."""
    done = zygote.run(["-m", "suites.viewing.perceptual", "--help"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "FILMS.JSON" in done.stdout
