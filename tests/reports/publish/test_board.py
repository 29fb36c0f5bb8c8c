"""A site of several campaigns."""

import re

import pytest

from harness.errors import StoreError
from reports.publish.board import board
from tests.reports.folders import campaign, films, pocket


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    known = campaign(root / "one" / "known", pocket({"sliding_window": [0.2] * 12, "memrope": [0.9] * 12}),
                     backbone="pocket")  # fmt: skip
    more = campaign(
        root / "two" / "known", pocket({"sliding_window": [0.2] * 12, "full": [0.9] * 12}), backbone="pocket"
    )
    filmed = campaign(root / "filmed <b>", films({"sliding_window": [16.0] * 3, "memrope": [17.0] * 3}))
    pages = board([known, more, filmed], root / "site", title="Board: all")
    return root / "site", pages


def test_it_has_an_index_and_a_page_each(site):
    out, pages = site
    assert [str(page.relative_to(out)) for page in pages] == [
        "index.html", "known/report.html", "known-2/report.html", "filmed-b/report.html"
    ]  # fmt: skip
    assert all(page.is_file() for page in pages)
    assert (out / ".nojekyll").is_file()
    assert "sdk: static" in (out / "README.md").read_text(encoding="utf-8")


def test_the_index_leads_to_every_page_and_nowhere_else(site):
    out, pages = site
    text = (out / "index.html").read_text(encoding="utf-8").partition("<script")[0]
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert [out / link for link in links] == pages[1:]


def test_arms_stand_over_backbones(site):
    out, _ = site
    text = (out / "index.html").read_text(encoding="utf-8").partition("<script")[0]
    assert re.findall(r'<tr data-arm="([^"]+)"', text) == ["sliding_window", "memrope", "full"]
    memrope = text.partition('<tr data-arm="memrope">')[2].partition("</tr>")[0]
    assert memrope.count("<td") == 3
    assert re.findall(r'class="value">([^<]+)<', memrope) == ["60", "n/a", "n/a"]
    assert "▲" in memrope
    assert "filmed &lt;b&gt;" in text


def test_a_site_does_not_go_into_a_campaign(site, tmp_path):
    folder = campaign(tmp_path / "c", films({"sliding_window": [16.0]}))
    with pytest.raises(StoreError, match="is a campaign's folder"):
        board([folder], folder)
