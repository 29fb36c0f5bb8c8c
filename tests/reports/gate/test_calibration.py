"""The gate against itself, on noise whose size is known."""

import json

import pytest

from harness.errors import BaselineError
from harness.suite import Margin
from reports.gate.calibration import calibrate, headline, markdown, write
from reports.gate.policy import declared, read_policy
from tests.reports.made import evidence, launches, whole

POLICY = declared(["drift", "latency", "vram"])


def runs(count=12, noise=0.008):
    made = []
    for seed in range(count):
        head, base = whole(seed), whole(seed + 100)
        for place, arm in enumerate(("memrope", "videomla")):
            head[arm, "chunk_p50_ms"] = launches(1000 + 10 * seed + place, noise=noise)
            base[arm, "chunk_p50_ms"] = launches(5000 + 10 * seed + place, noise=noise)
        made.append((evidence(head), evidence(base)))
    return made


def test_noise_is_measured_and_the_gate_keeps_still():
    found = calibrate(runs(), ["pass"] * 12, POLICY, gates=200)
    noise = {each.metric: each for each in found.noises}
    # Of the difference of two launches.
    assert noise["chunk_p50_ms"].spread == pytest.approx(0.008 * 2**0.5, rel=0.2)
    assert noise["chunk_p50_ms"].launches == 72
    assert 0.005 < noise["chunk_p50_ms"].moved < 0.02
    assert noise["cache_bytes"].spread == 0
    assert noise["cache_bytes"].proposed == POLICY["vram", "cache_bytes"]
    assert found.false_alarms == 0
    assert sum(found.gates.values()) == 200
    assert found.runs == {"pass": 12}


@pytest.mark.nightly
def test_the_smallest_change_that_is_found_grows_with_the_margin_and_the_noise():
    def detectable(noise, margin):
        policy = {("latency", "chunk_p50_ms"): Margin(relative=margin)}
        (found,) = calibrate(runs(6, noise), [], policy, gates=1).noises
        return found.detectable

    quiet = detectable(0.005, 0.05)
    assert 0.05 < quiet <= 0.08
    assert detectable(0.005, 0.1) > quiet
    assert detectable(0.03, 0.05) > quiet
    assert detectable(0.8, 0.05) is None


def test_margins_that_noise_asks_for_can_be_used(tmp_path):
    found = calibrate(runs(6, noise=0.05), ["pass"], POLICY, gates=20)
    page, data, policy = write(found, tmp_path)
    proposed = read_policy(policy, ["drift", "latency", "vram"])["latency", "chunk_p50_ms"]
    assert proposed.relative > POLICY["latency", "chunk_p50_ms"].relative
    assert json.loads(data.read_text(encoding="utf-8"))["false_alarms"] == found.false_alarms
    assert headline(found) in page.read_text(encoding="utf-8")
    assert "latency.chunk_p50_ms" in markdown(found)


@pytest.mark.nightly
def test_false_alarms_of_margins_far_below_the_noise_are_counted_and_named():
    """Then significance alone holds the gate back, as often as it says: looked at twice, twice in twenty at most."""
    policy = {("latency", "chunk_p50_ms"): Margin(relative=1e-6)}
    found = calibrate(runs(6, noise=0.03), [], policy, gates=300)
    assert 0 < found.false_alarms < 0.1
    assert set(found.alarms) <= {f"{arm}: chunk_p50_ms in switches" for arm in ("memrope", "videomla")}
    assert found.gates["inconclusive"] > 200


def test_nothing_to_look_at():
    with pytest.raises(BaselineError, match="nothing in these runs that a gate looks at"):
        calibrate(runs(1), [], {})
