"""A campaign as a dataset, in a folder and on a hub that is made up."""

from typing import ClassVar

import huggingface_hub
import pandas as pd
import pytest
import yaml

from harness.errors import StoreError
from reports.publish.share import share
from tests.reports.folders import campaign, films, pocket

pytestmark = pytest.mark.usefixtures("undrawn")

FILES = {
    "README.md", "manifest.json", "report.html", "report.md", "table.csv", "pairs.csv", "data/records.parquet",
    "data/table.parquet", "data/pairs.parquet", ".eval_results/horizon.yaml",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    values = {"sliding_window": [0.2] * 12, "memrope": [0.9] * 12}
    return campaign(tmp_path_factory.mktemp("share") / "c", pocket(values), backbone="pocket")


@pytest.fixture(scope="module")
def shared(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("dataset") / "d"
    assert share(folder, str(place)) == str(place)
    return place


def files(place):
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_a_dataset_has_its_parts(shared):
    found = files(shared)
    assert {name for name in found if not name.startswith("plots/")} == FILES
    table = pd.read_parquet(shared / "data" / "table.parquet")
    assert set(table["arm"]) == {"sliding_window", "memrope"}


def test_the_card_has_metadata_numbers_and_the_command(shared):
    text = (shared / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    about = yaml.safe_load(head)
    assert about["license"] == "cc-by-4.0"
    assert [each["config_name"] for each in about["configs"]] == ["records", "table", "pairs"]
    assert all((shared / each["data_files"]).is_file() for each in about["configs"])
    assert about["size_categories"] == ["n<1K"]
    assert "1. memrope keeps the video itself longest: 60.0 s of 60 s" in body
    assert "| memrope |" in body
    assert "horizon run --strategy memrope --suite drift --tier quick --backbone pocket" in body


def test_a_models_page_gets_a_result_an_arm(shared):
    found = yaml.safe_load((shared / ".eval_results" / "horizon.yaml").read_text(encoding="utf-8"))
    assert [each["notes"].split(":")[0] for each in found] == ["sliding_window", "memrope"]
    assert found[1]["value"] == 60
    assert found[1]["dataset"]["task_id"] == "drift-steady-survival"
    assert found[1]["source"]["url"] == "https://huggingface.co/datasets/OWNER/NAME"


class Hub:
    """What was asked of the hub."""

    calls: ClassVar[list] = []

    def create_repo(self, name, **options):
        self.calls.append(("create", name, options))

    def upload_folder(self, **options):
        self.calls.append(("upload", options["repo_id"], files(options["folder_path"])))


def test_it_is_uploaded_where_asked(folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    address = share(folder, "hf://datasets/someone/memories", private=True)
    assert address == "https://huggingface.co/datasets/someone/memories"
    create, upload = Hub.calls
    assert create == ("create", "someone/memories", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert upload[2] >= FILES


def test_a_failed_upload_is_one_line(folder, monkeypatch):
    def refuse(self, name, **options):
        raise OSError("no connection\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(StoreError, match="no connection; log in with: hf auth login"):
        share(folder, "hf://datasets/someone/memories")


@pytest.mark.parametrize("to", ["hf://models/a/b", "hf://datasets/a", "hf://datasets/a/b/c"])
def test_what_is_no_dataset_is_refused(folder, to):
    with pytest.raises(StoreError, match="not a dataset"):
        share(folder, to)


def test_a_campaign_is_not_written_over(folder):
    with pytest.raises(StoreError, match="is a campaign's folder"):
        share(folder, str(folder))


def test_without_a_score_there_are_no_results(tmp_path):
    made = campaign(tmp_path / "c", films({"sliding_window": [16.0] * 3, "memrope": [17.0] * 3}))
    share(made, str(tmp_path / "d"))
    assert yaml.safe_load((tmp_path / "d" / ".eval_results" / "horizon.yaml").read_text(encoding="utf-8")) == []
