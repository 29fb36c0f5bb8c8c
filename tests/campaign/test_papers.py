"""Tables of papers as campaigns: each file is one, and a run of it stands beside the paper's numbers."""

import json
from dataclasses import replace

import pytest

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells, manifest
from harness.campaign.papers import Paper, papers, read_paper
from harness.engines.inline import run as execute
from harness.errors import CampaignError
from harness.store.store import Store
from reports.report import render


@pytest.fixture(scope="module")
def model():
    """The pocket's model as one whose world is not known."""
    return replace(registry.backbone("pocket"), name="self-forcing", world=None)


@pytest.mark.parametrize("name", papers())
def test_every_table_is_a_campaign_whose_arms_and_metrics_exist(name):
    values, paper = read_paper(name)
    campaign = make_campaign(values)
    assert campaign.equal_budget == 0
    assert campaign.backbone in ("self-forcing", "longlive")
    suites = [registry.load("suites", suite)() for suite in campaign.suites]
    assert all(campaign.tier in suite.tiers for suite in suites)
    assert {row.arm for row in paper.rows} == set(campaign.strategies)
    for arm in campaign.strategies:
        registry.parse_strategy(arm)
    for metric in {metric for row in paper.rows for metric in row.theirs}:
        assert any(suite.metric_named(metric) for suite in suites), metric
    assert paper.source.startswith("https://arxiv.org/abs/")


def test_the_tables_say_what_the_page_says():
    """Every number of a table is on the page of the papers' tables."""
    from tests.test_docs import ROOT

    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    for name in papers():
        for value in (value for row in read_paper(name)[1].rows for value in row.theirs.values()):
            spelled = {f"{value:.2f}", f"{value:.1f}", f"{value:.3f}", f"{value / 100:.4f}".lstrip("0"),
                       f"{value / 100:.3f}".lstrip("0")}  # fmt: skip
            assert any(text in page for text in spelled), (name, value)


def test_a_table_runs_and_stands_beside_the_paper_s_numbers(tmp_path, model, monkeypatch):
    values, paper = read_paper("infinity-rope-60s")
    prompts = tmp_path / "few.jsonl"
    prompts.write_text('{"prompt": "a red disc", "frames": 12}\n', encoding="utf-8")
    campaign = make_campaign({**values, "prompts": str(prompts), "strategies": ["infinity_rope"]})
    store = Store(tmp_path / "x")
    planned = cells(campaign, model)
    whole = manifest(campaign, model, planned, "x")
    whole["asked"]["paper"] = {**paper.model_dump(mode="json"), "shares_in_per_cent": True}
    store.begin(whole)
    execute(store, model, planned)
    assert {cell.status for cell in store.cells()} == {"ok"}
    render(store.folder)
    page = (store.folder / "report.md").read_text(encoding="utf-8")
    assert "nfinity-RoPE, 60 s on Self-Forcing: theirs and ours" in page.replace("\\", "")
    assert "82.98" in page
    assert "What differs: Theirs is called overall" in page


def test_wrong_names_and_files_are_one_line(tmp_path):
    with pytest.raises(CampaignError, match="did you mean 'memrope-1h'"):
        read_paper("memrope-1")
    with pytest.raises(CampaignError, match="in a checkout only"):
        read_paper("memrope-1h", tmp_path)
    (tmp_path / "x.toml").write_text('suites = ["drift"]\n[paper]\ntitle = "x"\n', encoding="utf-8")
    with pytest.raises(CampaignError, match="source is missing"):
        read_paper("x", tmp_path)
    assert json.loads(
        Paper(title="x", source="y", scenario="z", rows=[{"arm": "a", "theirs": {"b": 1}}]).model_dump_json()
    )
