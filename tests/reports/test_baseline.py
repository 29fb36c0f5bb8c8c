"""The baseline of a comparison: the requested arm, the default, or none, in which case the legend says so."""

import pytest

from harness import registry
from harness.errors import UnknownNameError
from reports.arms import Entrant
from reports.report import render
from reports.statistics.baseline import choose
from tests.reports.folders import campaign, films

pytestmark = pytest.mark.usefixtures("undrawn")

PUBLISHED, EQUAL = "as published", "equal budget"


def field(**tables):
    """Entrants by label, in their tables."""
    found = []
    for label, where in tables.items():
        name, made = registry.parse_strategy(label)
        found.append(Entrant(label, name, "", made.knobs(), tuple(where), 0))
    return found


ARMS = field(**{
    "sliding_window": [PUBLISHED, EQUAL], "memrope": [PUBLISHED], "memrope.window=14": [EQUAL],
    "memrope.window=9": [PUBLISHED], "attention_sink.sink=2": [PUBLISHED], "attention_sink.sink=4": [PUBLISHED],
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        (None, {PUBLISHED: "sliding_window", EQUAL: "sliding_window"}),
        ("sliding_window", {PUBLISHED: "sliding_window", EQUAL: "sliding_window"}),
        # The arm with this very label comes first; where there is none, the only one of the strategy.
        ("memrope", {PUBLISHED: "memrope", EQUAL: "memrope.window=14"}),
        ("memrope.window=9", {PUBLISHED: "memrope.window=9"}),
        ("memrope.sink=3,window=9", {PUBLISHED: "memrope.window=9"}),
        ("memrope.window=12", {PUBLISHED: "memrope"}),
    ],
)
def test_names_labels_and_knobs(name, arms):
    found = choose(ARMS, name)
    assert found.arms == arms
    assert set(found.missing) == {PUBLISHED, EQUAL} - set(arms)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "memrop",
            "--baseline memrop: no arm has this name (did you mean 'memrope'?); there are: sliding_window, memr",
        ),
        ("full", "--baseline full: no arm has this name; there are: "),
        ("memrope.window=99", "no arm has this name"),
        ("memrope.windw=9", "no arm has this name (did you mean 'memrope.window=9'?)"),
        ("attention_sink", "several arms have this name; give one of: attention_sink.sink=2, attention_sink.sink=4"),
        ("", "no arm has this name"),
    ],
)
def test_what_is_not_there_is_one_line(name, says):
    with pytest.raises(UnknownNameError) as caught:
        choose(ARMS, name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_default_there_are_no_marks_and_the_legend_says_why(tmp_path):
    folder = campaign(tmp_path / "c", films({"memrope": [16.0] * 12, "full": [17.0] * 12}))
    _, (sheet, *_), legend = render(folder)
    assert not any("▲" in cell or "▼" in cell for row in sheet.rows for cell in row)
    assert legend.marks == (
        "No marks: sliding_window, the default baseline, is not among its arms. Give --baseline one of: memrope, full."
    )
    for page in ("report.html", "report.md"):
        text = (folder / page).read_text(encoding="utf-8")
        assert "No marks: sliding_window" in text
        assert "worse than" not in text.partition("<script")[0]


def test_another_baseline_turns_the_marks_round(tmp_path):
    folder = campaign(tmp_path / "c", films({"sliding_window": [16.0] * 12, "memrope": [17.0] * 12}))
    _, (sheet, *_), _ = render(folder)
    assert [row[-1][-1] for row in sheet.rows] == ["0", "▲"]
    _, (sheet, *_), legend = render(folder, baseline="memrope")
    assert [row[-1][-1] for row in sheet.rows] == ["▼", "0"]
    assert "worse than memrope in the same table" in legend.marks
    assert "Against `memrope`" not in (folder / "report.md").read_text(encoding="utf-8")  # films have no headline score


def test_what_a_campaign_was_run_with_holds_until_another_is_given(tmp_path):
    folder = campaign(
        tmp_path / "c", films({"sliding_window": [16.0] * 12, "memrope": [17.0] * 12}), asked={"baseline": "memrope"}
    )
    assert "than memrope" in render(folder)[2].marks
    assert "than sliding_window" in render(folder, baseline="sliding_window")[2].marks
