"""Arguments are checked before anything is written, and errors of the system name the file or option."""

import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest

from harness.cli.console import checks
from harness.cli.console.failures import one_line
from harness.errors import CampaignError
from harness.files import write_whole


def test_a_folder_may_have_a_dot_and_a_file_may_not_be_a_folder(tmp_path):
    place = tmp_path / "gate.1"
    place.mkdir()
    assert checks.folder(place) == place
    assert checks.file(place / "x.png") == place / "x.png"
    assert checks.folder(None) is checks.file(None) is None
    for name in ("gate.1", "plain"):
        (tmp_path / name).mkdir(exist_ok=True)
        with pytest.raises(CampaignError, match="a folder is there; give the name of a file"):
            checks.file(tmp_path / name)
    (tmp_path / "text").touch()
    with pytest.raises(CampaignError, match="text is not a folder"):
        checks.folder(tmp_path / "text")


def test_a_folder_in_one_that_is_read_only(tmp_path, monkeypatch):
    place = tmp_path / "mine"
    place.mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    assert checks.folder(place / "deep") == place / "deep"
    assert checks.folder(place) == place
    for check in (checks.file, checks.folder):
        with pytest.raises(CampaignError, match="is read-only for this user"):
            check(tmp_path / "other")


@pytest.mark.parametrize("name", ["v.mp4", "v.png"])
def test_a_folder_where_a_video_or_its_filmstrip_goes(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(CampaignError, match=rf"{name}: a folder is there"):
        checks.film(tmp_path / "v.mp4")
    assert checks.film(tmp_path / "w.mp4") == tmp_path / "w.mp4"


def full(path):
    return one_line(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)))


def test_tmpdir_is_named_for_what_lies_there_by_itself_only(monkeypatch):
    place = Path(tempfile.gettempdir())
    monkeypatch.setattr(sys, "argv", ["horizon", "sample", "a disc", "--out", str(place / "horizon-x")])
    assert full(place / "horizon-y" / "state.pt").endswith("; TMPDIR names another place for it")
    for path in (place / "horizon-x" / "a.mp4", place / "a.mp4", place):
        assert full(path).endswith("; make room there, or give --out another place")


def test_a_variable_is_named_unless_out_leads_deeper(tmp_path, monkeypatch):
    monkeypatch.setenv("HORIZON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["horizon", "run", f"--out={tmp_path}"])
    assert "HORIZON_CACHE names another place" in full(tmp_path / "cache" / "text")
    monkeypatch.setattr(sys, "argv", ["horizon", "run", f"--out={tmp_path / 'cache' / 'run'}"])
    assert "give --out another place" in full(tmp_path / "cache" / "run" / "a.json")


@pytest.mark.parametrize("named", [True, False])
def test_an_error_names_the_file_that_was_meant(tmp_path, named):
    def write(beside):
        raise OSError(errno.ENOSPC, "no room", *([str(beside)] if named else []))

    with pytest.raises(OSError, match="no room") as caught:
        write_whole(tmp_path / "dd.mp4", write)
    assert caught.value.filename == str(tmp_path / "dd.mp4")
    (tmp_path / "dd.mp4").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write_whole(tmp_path / "dd.mp4", lambda beside: beside.touch())
    assert caught.value.filename == str(tmp_path / "dd.mp4")
    assert ".dd." not in one_line(caught.value)
