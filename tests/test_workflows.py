"""CI's workflows: what they run exists, and nobody's code gets where it must not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import registry
from harness.campaign.campaign import read_campaign

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# YAML takes the key "on" for a yes.
LOADED = {
    file.stem: {
        ("on" if key is True else key): value for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }
    for file in FILES
}
STEPS = [
    pytest.param(step, id=f"{name}-{job}-{step.get('name', step.get('uses', '?')).partition('@')[0]}")
    for name, workflow in LOADED.items()
    for job, about in workflow["jobs"].items()
    for step in about["steps"]
]


def listed(*words):
    command = [sys.executable, "-m", "nox", "--list", "--json", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout


@pytest.mark.parametrize("step", STEPS)
def test_every_step(step):
    if "uses" in step:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]), "an action is pinned by its hash"
        if "checkout" in step["uses"]:
            assert step["with"]["persist-credentials"] is False
        return
    script = step["run"]
    subprocess.run(["bash", "-n"], input=script, encoding="utf-8", check=True)
    # What somebody can choose (a branch's name, a label) comes in as a variable, never as code.
    assert "${{" not in script
    for name in re.findall(r"nox -s ([\w-]+)", script):
        assert listed("--session", name), name


@pytest.mark.parametrize("name", LOADED)
def test_nobody_gets_more_than_needed(name):
    workflow = LOADED[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow["on"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_no_pull_request_reaches_a_machine_of_ones_own():
    """A pull request brings its own workflow files, so none that names own runners may be started by one."""
    for name, workflow in LOADED.items():
        own = [job for job in workflow["jobs"].values() if "self-hosted" in job["runs-on"]]
        if own:
            assert name == "gpu"
            assert not [trigger for trigger in workflow["on"] if trigger.startswith("pull_request")]
    jobs = LOADED["gpu"]["jobs"]
    assert jobs["gate"]["needs"] == "plan"
    assert jobs["plan"]["if"] == "vars.HORIZON_GPU_RUNNER != '' && github.ref == 'refs/heads/main'"


def test_the_page_says_what_really_keeps_forks_out():
    page = " ".join((ROOT / "docs" / "ci.md").read_text(encoding="utf-8").split())
    assert "Require approval for all external contributors" in page
    assert "gpu.yml@refs/heads/main" in page
    assert "never gets there**" not in page


def test_the_matrix_has_every_strategy():
    done = subprocess.run(
        [sys.executable, str(ROOT / ".github" / "matrix.py")], input=listed("--session", "bench"), check=True,
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    name, _, value = done.stdout.strip().partition("=")
    assert name == "strategies"
    assert json.loads(value) == list(registry.found("strategies"))


def test_the_gpus_campaign_can_be_read():
    campaign = read_campaign(ROOT / ".github" / "gpu.toml")
    assert (campaign.backbone, campaign.device) == ("wan-1.3b", "cuda")
    for suite in campaign.suites:
        assert campaign.tier in registry.load("suites", suite)().tiers


@pytest.mark.parametrize("session", ["fuzz", "viewers", "cuda-dry"])
def test_what_a_push_leaves_out_runs_every_night(session):
    workflow = LOADED["nightly"]
    assert "schedule" in workflow["on"]
    scripts = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(f"nox -s {session}" in script for script in scripts)
