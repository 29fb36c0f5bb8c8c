"""Records with the largest numbers, and files that are damaged while a report is made."""

import sys

import numpy as np
import pytest

from harness import cli
from harness.errors import StoreError
from harness.store.cells import Stored
from reports.gate.evidence import read
from reports.gate.policy import declared
from reports.gate.verdicts import judge
from reports.report import render
from tests.reports.folders import campaign, films, pocket

LARGE = 1e308
VALUES = {
    "memrope": [0.5 * LARGE, -LARGE, LARGE, LARGE, 1.7 * LARGE],
    "sliding_window": [LARGE, LARGE, -LARGE, 0.3, 1.0],
    "full": [1.0, 2.0, 3.0, 4.0, 5.0],
}


@pytest.mark.parametrize("backbone", ["self-forcing", "pocket"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_near_the_largest_are_no_lines_of_warnings(tmp_path, monkeypatch, capsys, backbone):
    folder = campaign(tmp_path / "x", (pocket if backbone == "pocket" else films)(VALUES), backbone=backbone)
    monkeypatch.setattr(sys, "argv", ["horizon", "compare", str(folder)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "Warning" not in capsys.readouterr().err
    judge(read(folder), read(folder), declared(["drift"]))


def test_a_folder_that_is_damaged_meanwhile_is_not_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    folder = campaign(tmp_path / "x", films({"memrope": [1.0, 2.0], "sliding_window": [1.0, 2.0]}))

    def damaged(self):
        raise StoreError(f"{self.folder}: not pictures written by Horizon; move it away")

    monkeypatch.setattr(Stored, "pictures", damaged)
    with pytest.raises(StoreError, match="not pictures written by Horizon; move it away") as told:
        render(folder)
    assert "cannot write" not in str(told.value)


@pytest.mark.parametrize("kind", ["f2", "f4", ">f8", "i8", "u4", "?"])
def test_pictures_of_any_kind_of_number_are_drawn(tmp_path, kind):
    folder = campaign(tmp_path / "x", films({"memrope": [1.0, 2.0], "sliding_window": [1.0, 2.0]}))
    for path in folder.glob("cells/*/pictures.npz"):
        np.savez_compressed(path, strip=np.ones((1, 1, 3, 8, 8), kind), frames=np.array([0]))
    made, *_ = render(folder)
    assert "steady-filmstrips.png" in [path.name for path in made]
