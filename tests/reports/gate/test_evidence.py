"""Files of baselines: a file returns the accepted evidence, and a changed file is refused in one line."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness import registry
from harness.errors import BaselineError, StoreError
from harness.store import cells
from harness.store import store as store_module
from harness.store.store import Store
from harness.suite import Sample
from reports.gate.evidence import KEY, accept, read, save
from reports.gate.page import write
from reports.gate.policy import declared
from reports.gate.verdicts import judge
from reports.tables import Trouble
from tests.reports.made import MANIFEST, evidence, whole


@pytest.fixture
def made():
    return evidence(whole(1), troubles=(Trouble("videomla", "drift", "steady", "nan", "why", 240, (("a thing", 7),)),))


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


def test_a_baseline_that_does_not_say_which_rollouts_failed_is_read(made, tmp_path):
    file = tmp_path / "base.parquet"
    save(replace(made, troubles=[made.troubles[0][:5]]), file)
    assert read(file).troubles == (Trouble("videomla", "drift", "steady", "nan", "why"),)


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
    file.write_text("arm,metric\n", encoding="utf-8")


def empty(file):
    file.write_text("", encoding="utf-8")


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


def test_a_baseline_may_have_a_name_that_is_no_utf8(made, tmp_path):
    file = tmp_path / os.fsdecode(b"out\xff") / os.fsdecode(b"b\xc3\xa9\xff.parquet")
    accept(made, file, "the first", "Ada")
    accept(made, file, "the second", "Ada")
    found = read(file)
    assert [note["why"] for note in found.accepted] == ["the first", "the second"]
    write(judge(found, found, declared(found.suites())), tmp_path)
    assert json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))["head"]["source"] == str(file)


def test_mistakes_when_accepting(made, tmp_path):
    with pytest.raises(BaselineError, match=r"give a name that ends in .parquet"):
        accept(made, tmp_path / "base.csv", "why")
    with pytest.raises(BaselineError, match="--why is empty"):
        accept(made, tmp_path / "base.parquet", "  ")
    with pytest.raises(BaselineError, match="no such baseline; make one with: horizon baseline accept"):
        read(tmp_path / "none.parquet")
    with pytest.raises(StoreError, match="no campaign there"):
        read(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(BaselineError, match="cannot write"):
        accept(made, tmp_path / "file" / "base.parquet", "why", "Ada")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda cell, manifest: cell.write_text("{}", encoding="utf-8"), "damaged"),
        (lambda cell, manifest: cell.write_text("{", encoding="utf-8"), "cannot be read"),
        (
            lambda cell, manifest: cell.with_name("record.jsonl").write_text(
                '[0, "cache_bytes", 3, 1]\n', encoding="utf-8"
            ),
            "not a record",
        ),
        (lambda cell, manifest: manifest["asked"].update(cells=5), "damaged"),
        (lambda cell, manifest: manifest["asked"]["cells"].append("f" * 16), "1 of its cells are not there yet"),
        (lambda cell, manifest: manifest["asked"].update(arms=[{}]), "damaged"),
        (lambda cell, manifest: manifest["asked"].update(suite_versions=[]), "damaged"),
        (lambda cell, manifest: manifest.pop("environments"), "damaged"),
        (lambda cell, manifest: manifest.pop("name"), "damaged"),
        (lambda cell, manifest: manifest.update(format=0), "format 0, this Horizon reads 2"),
    ],
)
def test_folders_that_were_spoilt_are_one_line(tmp_path, spoil, says):
    folder = campaign(tmp_path / "run")
    assert len(read(folder).scores)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    spoil(next(folder.glob("cells/*/cell.json")), manifest)
    file.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(StoreError, match=says) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_once(tmp_path, monkeypatch):
    """A manifest of thousands of cells takes long to read, and there would be thousands of readings."""
    folder = campaign(tmp_path / "run")
    looks = Counter()

    def counted(read):
        def reading(path):
            looks[Path(path).name] += 1
            return read(path)

        return reading

    for module, name in ((store_module, "read_manifest"), (cells, "read_cell")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    read(folder)
    assert looks == {"manifest.json": 1, "cell.json": 1}


def campaign(folder):
    """A folder with one cell."""
    knobs = registry.strategy("memrope").knobs()
    store = Store(folder)
    arm = {"label": "memrope", "strategy": "memrope", "knobs": knobs, "tables": ["as published"], "weights": None}
    asked = {**MANIFEST["asked"], "arms": [arm], "cells": ["a" * 16]}
    store.begin({"name": "run", "asked": asked, "environment": MANIFEST["environment"]})
    about = {
        "backbone": "pocket", "strategy": "memrope", "knobs": knobs, "suite": "vram", "suite_version": "1",
        "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "", "cost": {},
        "task": {"scenario": "stream", "frames": 45, "given": 0, "rows": [{"seed": 0, "script": [[0, "a"]]}],
                 "boundaries": ["smooth"]},
    }  # fmt: skip
    samples = [Sample(0, name, end, 1.0) for name in ("cache_bytes", "resident_bytes") for end in range(3, 46, 3)]
    samples += [Sample(0, "peak_bytes", 45, 1.0), Sample(0, "steady_from", 45, 9.0)]
    store.finish("a" * 16, about, samples, {})
    return folder
