"""Several seeds of one campaign in one table; whatever else differs is named and refused."""

from pathlib import Path

import pandas as pd
import pytest

from harness.errors import StoreError
from reports.pool import Snapshot
from reports.report import render
from tests.reports.folders import campaign, films, pocket

pytestmark = pytest.mark.usefixtures("undrawn")

VALUES = {"sliding_window": [0.2, 0.3, 0.1, 0.2], "memrope": [0.9, 0.8, 1.0, 0.9]}


@pytest.fixture
def seeds(tmp_path):
    return [
        campaign(tmp_path / str(seed), pocket(VALUES, first=1000 * (seed + 1)), backbone="pocket", seed=seed)
        for seed in range(3)
    ]


def test_three_seeds_make_one_table(seeds, tmp_path):
    written, (sheet, *_), _ = render(*seeds, out=tmp_path / "all")
    assert dict(zip(sheet.heads, sheet.counts, strict=True))["unsaid identity"] == "n=12"
    rows = pd.read_csv(tmp_path / "all" / "table.csv")
    last = rows[(rows["metric"] == "unsaid_identity") & (rows["horizon_seconds"] == 60)].set_index("arm")
    assert last.loc["memrope", "mean"] == pytest.approx(0.9)
    # Of four rollouts it could not be told apart, of twelve it can.
    assert last.loc["memrope", "real"]
    alone = pd.read_csv(render(seeds[0])[0][2])
    assert not alone["real"].any()
    samples = pd.read_parquet(tmp_path / "all" / "records.parquet")
    assert sorted(samples["campaign"].unique()) == ["0", "1", "2"]
    assert "seeds 0, 1, 2" in (tmp_path / "all" / "report.md").read_text(encoding="utf-8")
    assert all(path.is_relative_to(tmp_path / "all") for path in written)
    assert not (seeds[1] / "report.html").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"tier": "full"}, r"its tier is full, not quick"),
        ({"weights": "other"}, r"its weights is other, not w"),
        ({"suite_versions": {"drift": "2"}}, r"its suite_versions differ in drift: 2, not 1"),
        ({"arms": []}, r"its arms lack sliding_window"),
        ({"size": "1x1"}, r"its size is 1x1, not None"),
    ],
)
def test_other_differences_are_named(seeds, tmp_path, spoil, says):
    other = campaign(tmp_path / "o", pocket(VALUES, first=9000), backbone="pocket", seed=9, asked=spoil)
    with pytest.raises(StoreError, match=says) as caught:
        render(seeds[0], other, out=tmp_path / "all")
    assert str(other) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "all").exists()


def test_a_knob_that_differs_is_named(seeds, tmp_path):
    more = {**VALUES, "memrope.window=9": [0.5] * 4}
    other = campaign(tmp_path / "o", pocket(more, first=9000), backbone="pocket", seed=9)
    with pytest.raises(StoreError, match=r"its arms have memrope.window=9 besides"):
        render(seeds[0], other, out=tmp_path / "all")


def test_a_seed_given_twice_does_not_count_twice(seeds, tmp_path):
    with pytest.raises(StoreError, match="both of seed 0: no rollout may count twice"):
        render(seeds[0], seeds[1], seeds[0], out=tmp_path / "all")
    again = campaign(tmp_path / "again", pocket(VALUES, first=9000), backbone="pocket", seed=1)
    with pytest.raises(StoreError, match="both of seed 1"):
        render(*seeds, again, out=tmp_path / "all")


def test_three_seeds_of_one_folder_are_all_counted(tmp_path):
    """Films of one prompt are one observation, whatever their seeds; rollouts are counted one by one."""
    rollouts = {
        label: [(f"prompt {n}", 1000 * seed + n, 120, {"psnr": 16.0 + n + more}) for seed in range(3) for n in range(4)]
        for label, more in (("sliding_window", 0), ("memrope", 2))
    }
    folder = campaign(tmp_path / "c", rollouts, asked={"seeds": [0, 1, 2]})
    written, (sheet, *_), _ = render(folder)
    assert set(filter(None, sheet.counts)) == {"n=12"}
    assert "seeds 0, 1, 2" in (folder / "report.md").read_text(encoding="utf-8")
    rows = pd.read_csv(written[2]).query("metric == 'psnr'").set_index("arm")
    assert rows.loc["memrope", "mean"] == pytest.approx(19.5)
    pairs = pd.read_csv(folder / "pairs.csv").query("metric == 'psnr'")
    # Of four prompts, however many films: the least p of a paired test is 2 in 16.
    assert [(pair["count"], pair["p"]) for _, pair in pairs.iterrows()] == [(12, 0.125)]


def test_folders_of_several_seeds_go_together_unless_they_share_one(tmp_path):
    def seeded(name, *seeds):
        rollouts = pocket(VALUES, first=1000 * (seeds[0] + 1))
        return campaign(tmp_path / name, rollouts, backbone="pocket", seed=seeds[0], asked={"seeds": list(seeds)})

    one, two = seeded("a", 0, 1), seeded("b", 2, 3)
    render(one, two, out=tmp_path / "all")
    assert "seeds 0, 1, 2, 3" in (tmp_path / "all" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="both of seed 1: no rollout may count twice"):
        render(one, seeded("c", 4, 1), out=tmp_path / "all")


def test_a_rollout_with_a_seed_of_its_own_does_not_count_twice(seeds, tmp_path):
    there = Snapshot(seeds[0]).manifest()["asked"]["cells"]
    other = campaign(tmp_path / "o", pocket(VALUES, first=9000), backbone="pocket", seed=9, asked={"cells": there[:1]})
    with pytest.raises(StoreError, match=r"both have cell .* of a prompt that sets its own seed: .* --seeds N"):
        render(seeds[0], other, out=tmp_path / "all")


def test_other_prompts_are_named(tmp_path):
    one = campaign(tmp_path / "1", films({"memrope": [16.0, 17.0]}))
    rollouts = {"memrope": [("a blue cat", 9, 120, {"psnr": 15.0})]}
    other = campaign(tmp_path / "2", rollouts, seed=1)
    with pytest.raises(StoreError, match="its prompts differ, the first is a blue cat, not prompt 0"):
        render(one, other, out=tmp_path / "all")


def test_a_report_of_several_does_not_overwrite_that_of_one(seeds):
    with pytest.raises(StoreError, match="is a campaign's folder and holds its own report; give --out another"):
        render(*seeds, out=seeds[0])
    with pytest.raises(StoreError, match="give --out another"):
        render(seeds[0], out=seeds[1])
    assert render(seeds[0], out=seeds[0])[0][0] == seeds[0] / "report.html"


def test_a_place_that_cannot_be_written_is_named(seeds):
    with pytest.raises(StoreError, match=r"cannot write to /proc/none: .*; give --out another place"):
        render(seeds[0], out=Path("/proc/none"))


def test_every_cell_is_read_once(seeds, monkeypatch):
    """Three thousand cells were read nine times each, and looked for by every filmstrip again."""
    reads = []
    from harness.store import cells, store

    for module, name in ((cells, "read_cell"), (store, "read_manifest")):
        read = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, read=read: reads.append(path) or read(path))
    render(seeds[0])
    assert len(reads) == len(set(reads)) == 1 + len(list(Snapshot(seeds[0]).cells()))
