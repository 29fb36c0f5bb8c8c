"""Baselines in a file: what comes back is what was accepted, and what was tampered with is refused in one line."""

import json
import os

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.errors import BaselineError, StoreError
from reports.evidence import KEY, accept, read
from tests.reports.made import evidence, whole


@pytest.fixture
def made():
    return evidence(whole(1), troubles=(("videomla", "drift", "steady", "nan", "why"),))


def test_what_comes_back_is_what_was_accepted(made, tmp_path):
    file = tmp_path / "deep" / "base.parquet"
    note = accept(made, file, "the first", "Ada")
    assert {note["who"], note["why"], note["commit"]} == {"Ada", "the first", "012345678"}
    back = read(file)
    pd.testing.assert_frame_equal(back.scores, made.scores, check_dtype=False)
    assert (back.manifest, back.troubles) == (made.manifest, made.troubles)
    assert back.cohort() == made.cohort()


def test_who_when_and_why_of_all_that_were_accepted_are_kept(made, tmp_path):
    file = tmp_path / "base.parquet"
    accept(made, file, "the first", "Ada")
    accept(evidence(whole(2)), file, "a faster kernel", "Grace")
    assert [(note["who"], note["why"]) for note in read(file).accepted] == [
        ("Ada", "the first"), ("Grace", "a faster kernel")
    ]  # fmt: skip
    assert read(file).accepted[0]["when"] <= read(file).accepted[1]["when"]


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file):
    data = bytearray(file.read_bytes())
    data[40] ^= 255
    file.write_bytes(data)


def foreign(file):
    pd.DataFrame({"a": [1]}).to_parquet(file)


def edited(file):
    """A number made better by hand, everything else kept."""
    table = pq.read_table(file)
    frame = table.to_pandas()
    frame.loc[0, "value"] += 0.2
    pq.write_table(table.from_pandas(frame, preserve_index=False).replace_schema_metadata(table.schema.metadata), file)


def another_format(file):
    table = pq.read_table(file)
    about = {**json.loads(table.schema.metadata[KEY]), "format": 99}
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(about).encode()}), file)


def no_manifest(file):
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({KEY: b'{"format": 1}'}), file)


def not_json(file):
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({KEY: b"{"}), file)


def text(file):
    file.write_text("arm,metric\n")


def empty(file):
    file.write_text("")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (truncated, "not a whole Parquet file"),
        (flipped, "not a whole Parquet file|changed after it was accepted"),
        (foreign, "no baseline of Horizon"),
        (edited, "changed after it was accepted"),
        (another_format, "format 99, this Horizon reads 1"),
        (no_manifest, "not written by Horizon"),
        (not_json, "not written by Horizon"),
        (text, "not a whole Parquet file"),
        (empty, "not a whole Parquet file"),
    ],
)
def test_what_is_no_sound_baseline_is_refused_and_never_overwritten(made, tmp_path, spoil, says):
    file = tmp_path / "base.parquet"
    accept(made, file, "the first", "Ada")
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(BaselineError, match=says) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(BaselineError, match=says):
        accept(made, file, "again", "Ada")
    assert file.read_bytes() == before


def test_mistakes_when_accepting(made, tmp_path):
    with pytest.raises(BaselineError, match=r"give a name that ends in .parquet"):
        accept(made, tmp_path / "base.csv", "why")
    with pytest.raises(BaselineError, match="--why is empty"):
        accept(made, tmp_path / "base.parquet", "  ")
    with pytest.raises(BaselineError, match="no such baseline; make one with: horizon baseline accept"):
        read(tmp_path / "none.parquet")
    with pytest.raises(StoreError, match="no campaign there"):
        read(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match="cannot write"):
        accept(made, tmp_path / "file" / "base.parquet", "why", "Ada")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_changed_by_hand_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 1, "asked": {"arms": []}, "environment": {}}')
    with pytest.raises(StoreError, match=r"asked is not what Horizon writes"):
        read(tmp_path)
