"""The gate on made-up runs: regressions, passes, and inconclusive findings."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness.errors import BaselineError
from harness.suite import Margin
from reports.gate.arms import beside
from reports.gate.evidence import Evidence, nothing, only_arms, united
from reports.gate.page import as_json, headline, junit, markdown, sheet, write
from reports.gate.policy import declared, read_policy, written
from reports.gate.verdicts import EXIT, judge, unsure
from reports.tables import Trouble
from tests.reports.made import MANIFEST, evidence, launches, whole

POLICY = declared(["drift", "latency", "vram"])


def verdict(head, base, **kinds):
    return judge(evidence(head), evidence(base), POLICY)


def states(found):
    return {(each.arm, each.metric): each.state for each in found.findings}


def test_the_same_code_passes_although_no_launch_is_like_another():
    found = verdict(whole(1), whole(2))
    assert set(states(found).values()) == {"pass"}
    assert (found.state, EXIT[found.state]) == ("pass", 0)
    assert found.together


@pytest.mark.parametrize(
    ("kind", "metric"), [("slower", "chunk_p50_ms"), ("larger", "cache_bytes"), ("forgetful", "unsaid_identity")]
)
def test_what_is_worse_is_named_and_nothing_else(kind, metric):
    for seed in range(10):
        found = verdict(whole(seed, **{kind: ("videomla",)}), whole(seed + 50))
        bad = [each for each in found.findings if each.state != "pass"]
        assert [(each.arm, each.metric, each.state) for each in bad] == [("videomla", metric, "regression")]
        assert (found.state, EXIT[found.state]) == ("regression", 1)
        better = verdict(whole(seed + 50), whole(seed, **{kind: ("videomla",)}))
        assert better.state == "improved"
        assert states(better)["videomla", metric] == "improved"


def test_what_is_real_and_does_not_matter_passes_and_what_matters_and_is_not_shown_does_not():
    twice = [20.0] * 6
    tiny = verdict({("memrope", "chunk_p50_ms"): np.array(twice) * 1.01}, {("memrope", "chunk_p50_ms"): twice})
    (finding,) = tiny.findings
    assert finding.state == "pass"
    assert finding.loss.low > 0
    noisy = verdict(
        {("memrope", "chunk_p50_ms"): launches(1, noise=0.2) * 1.15},
        {("memrope", "chunk_p50_ms"): launches(2, noise=0.2)},
    )
    assert noisy.state == "inconclusive"
    assert EXIT["inconclusive"] == 0
    assert [each.metric for each in unsure(noisy.findings)] == ["chunk_p50_ms"]


def test_nothing_found_is_not_enough_for_quality():
    """Three rollouts that differ by chance prove no non-inferiority."""
    base = {("memrope", "unsaid_identity"): [0.9, 0.8, 0.7]}
    head = {("memrope", "unsaid_identity"): [0.7, 0.9, 0.8]}
    assert verdict(head, base).state == "inconclusive"
    assert verdict(base, base).state == "pass"


def test_margins_are_of_both_kinds():
    """Less than the absolute margin never matters, however large its share."""
    policy = {("latency", "chunk_p50_ms"): Margin(relative=0.05, absolute=0.2)}
    base, head = ({("memrope", "chunk_p50_ms"): launches(1, level=level)} for level in (1.0, 1.15))
    assert judge(evidence(head), evidence(base), policy).state == "pass"
    strict = {("latency", "chunk_p50_ms"): Margin(relative=0.05, absolute=0.1)}
    assert judge(evidence(head), evidence(base), strict).state == "regression"
    told = {("latency", "chunk_p50_ms"): Margin(relative=0.05, absolute=0.1, gated=False)}
    found = judge(evidence(head), evidence(base), told)
    assert found.findings[0].state == "regression"
    # Nothing that is gated is worse, and nothing is shown to be as good.
    assert found.state == "no_baseline"


@pytest.mark.nightly
def test_many_numbers_do_not_add_up_to_a_false_alarm():
    """Forty strategies whose launches differ by chance alone, and by much."""
    names = [f"s{number}" for number in range(40)]
    policy = {("latency", "chunk_p50_ms"): Margin(relative=0.001)}
    alarms = 0
    for seed in range(20):
        head, base = (
            {(name, "chunk_p50_ms"): launches(1000 * seed + 50 * side + place) for place, name in enumerate(names)}
            for side in (0, 10)
        )
        alarms += judge(evidence(head), evidence(base), policy).state == "regression"
    # Benjamini and Hochberg: one in twenty of such families has any.
    assert alarms <= 4


@pytest.mark.parametrize(
    ("place", "key", "value", "says"),
    [
        ("environment", "cpu", "another", "cpu: another, baseline a cpu"),
        ("environment", "packages", {"torch": "2.12"}, "torch: 2.12, baseline 2.13.0"),
        ("asked", "tier", "quick", "tier: quick, baseline gate"),
        ("asked", "weights", "v", "weights: v, baseline w"),
    ],
)
def test_another_cohort_is_refused_and_says_what_differs(place, key, value, says):
    other = {**MANIFEST, place: {**MANIFEST[place], key: value}}
    found = judge(evidence(whole(1), other), evidence(whole(2)), POLICY)
    assert (found.state, EXIT[found.state], found.findings) == ("mismatch", 2, ())
    assert list(found.differences) == [says]
    assert says in headline(found)


def test_another_version_of_a_suite_is_not_compared():
    asked = {**MANIFEST["asked"], "suite_versions": {**MANIFEST["asked"]["suite_versions"], "latency": "2"}}
    found = judge(evidence(whole(1), {**MANIFEST, "asked": asked}), evidence(whole(2)), POLICY)
    assert {each.suite for each in found.of("mismatch")} == {"latency"}
    assert found.state == "mismatch"


def test_what_is_new_or_gone_is_told():
    new = verdict(whole(1, arms=("memrope", "videomla")), whole(2, arms=("memrope",)))
    assert new.state == "no_baseline"
    assert EXIT["no_baseline"] == 0
    assert {each.arm for each in new.of("no_baseline")} == {"videomla"}
    assert [row[1:3] for row in sheet(new).rows] == [["videomla", "3 numbers"]]
    longer = evidence(whole(1))
    longer.scores["horizon_latent_frames"] *= 2
    longer.scores["horizon_seconds"] *= 2
    found = judge(longer, evidence(whole(2)), POLICY)
    assert found.state == "mismatch"
    assert found.of("mismatch")[0].reason == "after 120 s; in the baseline after 60 s"
    gone = verdict(whole(1, arms=("memrope",)), whole(2, arms=("memrope", "videomla")))
    assert gone.state == "mismatch"
    assert gone.of("mismatch")[0].reason == "in the baseline but not in this run"


@pytest.mark.parametrize(("status", "state"), [("nan", "regression"), ("oom", "regression"), ("failed", "infra_error")])
def test_cells_without_numbers(status, state):
    values = whole(1)
    del values["memrope", "unsaid_identity"]
    trouble = (Trouble("memrope", "drift", "steady", status, "why"),)
    found = judge(evidence(values, troubles=trouble), evidence(whole(2)), POLICY)
    assert found.state == state
    (finding,) = found.of(state)
    assert (finding.place, finding.reason) == ("memrope: drift in steady", f"{status}: why")
    both = judge(evidence(values, troubles=trouble), evidence(values, troubles=trouble), POLICY)
    assert both.state == "infra_error"
    before = judge(evidence(whole(2)), evidence(values, troubles=trouble), POLICY)
    assert before.state == ("infra_error" if status == "failed" else "no_baseline")


def broken(*seeds, status="nan"):
    return tuple(Trouble("memrope", "drift", "steady", status, "why", 240, (("a thing", seed),)) for seed in seeds)


def without(run, *seeds):
    """A run whose films of these seeds have no numbers."""
    scores = run.scores
    lost = scores["seed"].isin(seeds) & (scores["arm"] == "memrope") & (scores["suite"] == "drift")
    return replace(run, scores=scores[~lost], troubles=broken(*seeds))


def test_a_film_that_failed_before_excuses_no_other_one():
    head, base = without(evidence(whole(1)), 101, 102, 103), without(evidence(whole(2)), 106)
    found = judge(head, base, POLICY)
    assert found.state == "regression"
    assert [finding.reason for finding in found.findings if not finding.metric] == [
        "nan: why (3 cells)", "the baseline has no numbers (nan: why)"
    ]  # fmt: skip
    same = judge(without(evidence(whole(1)), 106), base, POLICY)
    assert [(finding.state, finding.reason) for finding in same.findings if not finding.metric] == [
        ("infra_error", "nan: why (in the baseline too)")
    ]


def test_films_that_the_baseline_has_not_made_are_judged_by_the_others_in_their_place():
    """A gate that measures more rounds than its baseline did finds no new fault in what always failed."""
    base = without(evidence(whole(2)), *range(100, 116))
    head = replace(base, troubles=broken(*range(100, 130)))
    found = judge(head, replace(base, troubles=broken(*range(100, 116))), POLICY)
    assert {finding.reason for finding in found.findings if not finding.metric} == {
        "nan: why (in the baseline too) (30 cells)"
    }


def test_rollouts_that_lose_their_numbers_do_not_drop_out():
    head, base = whole(1), whole(2)
    head["memrope", "unsaid_identity"][:5] = np.nan
    found = verdict(head, base)
    assert found.state == "mismatch"
    assert found.of("mismatch")[0].reason == "5 of 16 rollouts have no value any more"


def test_nothing_to_compare_is_no_pass():
    found = judge(evidence(whole(1)), evidence(whole(2)), {})
    assert (found.state, EXIT[found.state]) == ("mismatch", 2)
    assert headline(found) == "mismatch: no number that a gate judges is in either"
    del (less := whole(1))["memrope", "cache_bytes"]
    assert verdict(less, whole(2)).state == "mismatch"
    new = judge(evidence(whole(1)), nothing(evidence(whole(2))), POLICY)
    assert set(states(new).values()) == {"no_baseline"}
    assert set(only_arms(evidence(whole(1)), {"memrope"}).scores["arm"]) == {"memrope"}


def test_runs_of_other_times_are_compared_without_pairs():
    """Two machines' worth of drift between the runs: pairs would mean nothing."""
    later = {**MANIFEST, "beside": "other"}
    head, base = {("memrope", "chunk_p50_ms"): launches(3, 10)}, {("memrope", "chunk_p50_ms"): launches(4, 6)}
    found = judge(evidence(head, later), evidence(base), POLICY)
    assert not found.together
    assert found.state == "pass"
    slow = judge(evidence({("memrope", "chunk_p50_ms"): launches(3, 10) * 1.1}, later), evidence(base), POLICY)
    assert slow.state == "regression"
    fast = judge(evidence(base), evidence({("memrope", "chunk_p50_ms"): launches(3, 10) * 1.1}, later), POLICY)
    assert fast.state == "improved"


def test_more_rounds_are_more_evidence():
    wide = {("memrope", "chunk_p50_ms"): launches(1, 4, noise=0.1)}
    more = evidence({("memrope", "chunk_p50_ms"): launches(2, 20, noise=0.1)})
    more.scores["seed"] += 1000
    head = united([evidence(wide), more])
    assert len(head.scores) == 24
    with pytest.raises(BaselineError, match="does not belong to made: cpu differ"):
        united([head, evidence(wide, {**MANIFEST, "environment": {**MANIFEST["environment"], "cpu": "x"}})])


def test_knobs_and_parameters_that_changed_are_told():
    arms = [{"label": "memrope", "knobs": {"window": 10}, "weights": {"digest": "x"}}]
    found = judge(
        evidence(whole(1), {**MANIFEST, "asked": {**MANIFEST["asked"], "arms": arms}}), evidence(whole(2)), POLICY
    )
    assert list(found.notes) == ["memrope: window was 12, is 10", "memrope: has other parameters of its own"]


def test_the_pages_say_the_same(tmp_path):
    found = verdict(whole(1, slower=("videomla",)), whole(2, arms=("memrope", "videomla")))
    page, data, cases, _ = write(found, tmp_path / "out")
    told = json.loads(data.read_text(encoding="utf-8"))
    assert (told["state"], told["exit_code"], told["together"]) == ("regression", 1, True)
    worst = next(each for each in told["findings"] if each["state"] == "regression")
    assert worst["arm"] == "videomla"
    assert worst["loss"]["mean"] == pytest.approx(0.1, abs=0.03)
    assert told["head"]["cohort"]["cpu"] == "a cpu"
    root = ET.fromstring(cases.read_text(encoding="utf-8"))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "1", "0")
    (failed,) = root.findall(".//failure/..")
    assert (failed.get("classname"), failed.get("name")) == ("videomla", "latency.switches.chunk_p50_ms")
    text = page.read_text(encoding="utf-8")
    assert "# Gate: ✗ regression" in text
    assert "| ✗ | videomla | chunk_p50_ms | switches |" in text
    assert "5 % and 0.2 ms" in text
    assert headline(found) == "regression: videomla: chunk_p50_ms in switches (5 pass, 1 regression)"
    assert len(sheet(found).rows) == 1
    assert len(sheet(found, everything=True).rows) == 6
    assert "NaN" not in data.read_text(encoding="utf-8")


def test_a_mismatch_is_an_error_in_every_page():
    other = {**MANIFEST, "environment": {**MANIFEST["environment"], "gpu": "H200"}}
    found = judge(evidence(whole(1), other), evidence(whole(2)), POLICY)
    assert ET.fromstring(junit(found)).get("errors") == "1"
    assert as_json(found)["differences"] == ["gpu: H200, baseline None"]
    assert "gpu: H200, baseline None" in markdown(found)


def test_a_policy_file_changes_margins_and_survives_being_written(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(
        "[latency.chunk_p50_ms]\nrelative = 0.2\n[latency.chunk_p99_ms]\nrelative = 1\n"
        "[drift.identity]\nabsolute = 0.1\ngated = false\n",
        encoding="utf-8",
    )
    policy = read_policy(file, ["drift", "latency", "vram"])
    assert policy["latency", "chunk_p50_ms"] == Margin(relative=0.2, absolute=0.2)
    assert policy["latency", "chunk_p99_ms"].relative == 1
    assert policy["drift", "identity"] == Margin(absolute=0.1, gated=False)
    assert policy["vram", "cache_bytes"] == POLICY["vram", "cache_bytes"]
    file.write_text(written(policy, "made"), encoding="utf-8")
    assert read_policy(file, ["drift", "latency", "vram"]) == policy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[latncy.chunk_p50_ms]\nrelative = 0.1", r"no suite 'latncy' in this run \(did you mean 'latency'\?\)"),
        ("[latency.chunk_p5_ms]\nrelative = 0.1", r"no metric 'chunk_p5_ms' \(did you mean 'chunk_p50_ms'\?\)"),
        ("[latency.steady_from]\nrelative = 0.1", "has no better direction"),
        ("[latency.chunk_p50_ms]\nrelativ = 0.1", r"latency.chunk_p50_ms.relativ = 0.1: extra inputs"),
        ("[latency.chunk_p50_ms]\nrelative = -1", "greater than or equal to 0"),
        ("[latency.chunk_p50_ms]\nabsolute = true", "chunk_p50_ms.absolute = True: input should be a valid number"),
        ("[latency.chunk_p50_ms]\nrelative = '1'", "chunk_p50_ms.relative = '1': input should be a valid number"),
        ("[latency.chunk_p50_ms]\ngated = 1", "chunk_p50_ms.gated = 1: input should be a valid boolean"),
        ("latency = 3", "no metric '3'"),
        ("[latency", "is not TOML"),
    ],
)
def test_mistakes_in_a_policy_are_one_line(tmp_path, text, says):
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError, match=says):
        read_policy(file, ["drift", "latency", "vram"])
    with pytest.raises(BaselineError, match="cannot read"):
        read_policy(tmp_path / "none.toml", ["drift"])


def test_margins_with_no_direction_cannot_be_declared():
    from harness import registry

    for suite in registry.found("suites"):
        for name, metric in registry.load("suites", suite)().metrics.items():
            assert metric.margin is None or metric.better != "neither", f"{suite}.{name}"


def test_findings_are_whole():
    (finding, *_) = verdict(whole(1), whole(2)).findings
    assert replace(finding, state="pass").place == "memrope: unsaid_identity in steady"
    assert finding.horizon_seconds == 60


def test_how_many_rollouts_a_number_is_of():
    found = verdict(whole(1), whole(2))
    by_metric = {row[2]: row[4] for row in sheet(found, everything=True).rows}
    assert by_metric == {"unsaid_identity": "16", "chunk_p50_ms": "6", "cache_bytes": "2"}
    base = {("memrope", "unsaid_identity"): [0.9, 0.8, 0.7, 0.6]}
    fewer = evidence(base)
    fewer = replace(fewer, scores=fewer.scores.iloc[:2])
    (finding,) = judge(evidence(base), fewer, POLICY).findings
    assert finding.behind == "2 of 4"
    assert (finding.base, finding.head) == (pytest.approx(0.85), pytest.approx(0.85))
    assert "| 2 of 4 |" in markdown(judge(evidence(base), fewer, POLICY))


def test_films_of_all_lengths_are_judged():
    """Three films of 6 s and one of 12 s: the three must not drop out of the verdict."""
    scores = evidence({("memrope", "unsaid_identity"): [0.9] * 4}).scores
    lengths = scores.assign(horizon_latent_frames=[24, 24, 24, 48], horizon_seconds=[6.0, 6, 6, 12])
    worse = lengths.assign(value=[0.5, 0.5, 0.5, 0.9])
    head, base = (Evidence(evidence({}).source, MANIFEST, each) for each in (worse, lengths))
    (finding,) = judge(head, base, POLICY).findings
    assert finding.count == 4
    assert finding.head == pytest.approx(0.6)
    assert finding.state != "pass"


def test_an_arm_may_be_what_the_others_must_match():
    run = evidence(whole(1, arms=("memrope", "videomla"), slower=("videomla",), forgetful=("videomla",)))
    found = judge(*beside(run, "memrope"), POLICY)
    assert found.together
    assert states(found) == {
        ("videomla", "unsaid_identity"): "regression",
        ("videomla", "chunk_p50_ms"): "regression",
        ("videomla", "cache_bytes"): "pass",
    }
    assert states(judge(*beside(run, "videomla"), POLICY))["memrope", "chunk_p50_ms"] == "improved"


@pytest.mark.parametrize(
    ("name", "says"),
    [("memrop", r"no such file, and no arm of this run \(did you mean 'memrope'\?\); its arms: memrope, videomla")],
)
def test_an_arm_that_is_not_there_is_one_line(name, says):
    with pytest.raises(BaselineError, match=says):
        beside(evidence(whole(1)), name)
