"""The overview of a gate: the state of every number by strategy, in gate.md and in gate.html."""

from html.parser import HTMLParser

import pytest

from reports.gate.page import html, markdown
from reports.gate.policy import declared
from reports.gate.summary import in_signs, overview
from reports.gate.verdicts import judge
from tests.reports.made import MANIFEST, evidence, whole

POLICY = declared(["drift", "latency", "vram"])


def verdict(head, base):
    return judge(evidence(head), evidence(base), POLICY)


@pytest.fixture(scope="module")
def slower():
    return verdict(whole(1, slower=("videomla",)), whole(2))


class Tables(HTMLParser):
    """The rows of each table of a page, a list of texts each; `addresses`: of whatever the page would load."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.addresses, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self.open = True
        elif tag in ("style", "script"):
            self.open = False

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("th", "td")

    def handle_data(self, data):
        if self.open:
            self.tables[-1][-1][-1] += data.strip()


def test_every_strategy_has_a_sign_for_every_number(slower):
    names, rows = overview(slower)
    assert names == ["unsaid_identity, steady", "chunk_p50_ms, switches", "cache_bytes, stream"]
    assert {arm: [each.state for each in found] for arm, found in rows} == {
        "memrope": ["pass", "pass", "pass"], "videomla": ["pass", "regression", "pass"],
    }  # fmt: skip
    text = markdown(slower)
    assert "| videomla | ✓ | ✗ | ✓ |" in text
    assert "- videomla: chunk_p50_ms in switches: worse by +" in text
    assert "<summary>all 6 numbers</summary>" in text


def test_one_strategy_alone_needs_no_overview():
    alone = verdict(whole(1, arms=("memrope",)), whole(2, arms=("memrope",)))
    assert in_signs(alone) == []


def test_the_page_has_the_overview_and_every_number(slower):
    page = html(slower)
    found = Tables(page)
    signs, everything = found.tables
    assert [row[0] for row in signs[1:]] == ["memrope", "videomla"]
    assert signs[2][2].startswith("✗ +")
    assert len(everything) == 1 + len(slower.findings)
    assert everything[1][:2] == ["videomla", "✗ regression"]
    assert found.addresses == []
    assert "<h1>Gate: ✗ regression</h1>" in page


def test_names_cannot_become_markup():
    bad = "<img src=x onerror=y>"
    manifest = {**MANIFEST, "environment": {**MANIFEST["environment"], "cpu": bad}}
    found = judge(evidence(whole(1), manifest), evidence(whole(2)), POLICY)
    assert bad not in html(found)
    assert Tables(html(found)).tables == []
