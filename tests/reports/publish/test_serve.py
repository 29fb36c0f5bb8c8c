"""A server whose page follows a running campaign."""

import threading
import urllib.error
import urllib.request

import pytest

from harness.errors import StoreError
from harness.store.store import Store
from reports.publish.serve import Server, fingerprint
from reports.report import render
from tests.reports.folders import campaign, films


@pytest.fixture
def folder(tmp_path):
    return campaign(tmp_path / "c", films({"sliding_window": [16.0, 17.0], "memrope": [17.0, 18.0]}))


@pytest.fixture
def served(folder):
    """A server that looks often, and stops at the end."""
    server = Server([folder], folder, lambda: render(folder), port=0, every=0.05)
    thread = threading.Thread(target=server.run, daemon=True)
    server.look()
    thread.start()
    yield server
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def got(server, path):
    with urllib.request.urlopen(server.address.rstrip("/") + path, timeout=20) as answer:
        return answer.read().decode()


def test_it_gives_the_page_and_its_version(served, folder):
    page = got(served, "/")
    assert 'fetch("/version")' in page
    assert "connect-src 'self'" in page
    assert got(served, "/version") == fingerprint(folder)
    assert got(served, "/table.csv").startswith("table,arm,suite")


@pytest.mark.parametrize("path", ["/flight/x.pt", "/manifest.json", "/cells/", "/../c/manifest.json", "/plots/"])
def test_it_gives_nothing_else(served, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        got(served, path)


def test_the_file_itself_asks_for_nothing(served, folder):
    got(served, "/")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'fetch("/version")' not in page
    assert "connect-src 'none'" in page


def test_a_finished_cell_makes_the_page_again(folder):
    made = []
    server = Server([folder], folder, lambda: made.append(1), port=0)
    assert server.look()
    assert not server.look()
    before = server.seen
    cell = next(Store(folder).cells())
    Store(folder).finish(cell.id, cell.about, cell.samples(), {})
    assert server.look()
    assert (len(made), server.seen != before) == (2, True)
    server.http.server_close()


def test_before_the_first_cell_it_waits(tmp_path):
    def none_yet():
        raise StoreError("no finished cell in it yet")

    server = Server([tmp_path], tmp_path, none_yet, port=0)
    assert not server.look()
    assert server.trouble == "no finished cell in it yet"
    server.http.server_close()
