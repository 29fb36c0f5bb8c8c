"""Long jobs show their progress and the time left, in a terminal and in a pipe."""

from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest

from harness.cli.console import terminal, ticker
from harness.cli.console.pace import Pace, span
from harness.cli.console.terminal import progress_over
from harness.cli.console.ticker import Ticker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (terminal, ticker):
        monkeypatch.setattr(module, "Pace", partial(Pace, clock=made))
    return made


def test_the_rest_takes_what_its_kind_took(clock):
    pace = Pace({"drift": 100, "fps": 10}, clock)
    assert pace.seconds_left() is None
    assert pace.in_words() == ""
    clock.now += 20
    pace.advance("drift", 50)
    assert pace.seconds_left() == pytest.approx(20 + 4)  # `fps` is taken for an average
    clock.now += 10
    pace.advance("fps", 1)
    assert pace.seconds_left() == pytest.approx(20 + 90)
    assert pace.in_words() == "about 2 min left"


def test_lines_come_seldom_and_ever_more_seldom(clock):
    pace = Pace({"x": 1}, clock)
    told = []
    for second in range(3600):
        clock.now = 100.0 + second
        if pace.due():
            told.append(second)
    assert told[:3] == [10, 20, 30]
    assert all(later - sooner >= max(10, 0.1 * sooner) for sooner, later in pairwise(told))
    assert len(told) < 50


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (7830, "2 h 10 min"), (97200, "1 d 3 h")],
)
def test_a_length_of_time_in_words(seconds, said):
    assert span(seconds) == said


def a_cell(name, skip=None):
    task = SimpleNamespace(rows=[0, 1], frames=30, scenario="steady")
    suite, arm = SimpleNamespace(name="drift"), SimpleNamespace(label=f"arm-{name}")
    return SimpleNamespace(id=name, task=task, arm=arm, suite=suite, skip=skip)


def test_a_run_in_a_pipe_says_the_time_that_is_left(clock, capsys):
    cells = [a_cell("kept"), a_cell("first"), a_cell("second"), a_cell("skipped", "no use")]
    with Ticker(cells, {"kept"}) as ticker:
        ticker.done(cells[0], "ok", "", True)
        clock.now += 6
        ticker.step(SimpleNamespace(frames=12, cell=cells[1], trouble=""))
        assert capsys.readouterr() == ("", "")
        clock.now += 6
        ticker.step(SimpleNamespace(frames=24, cell=cells[1], trouble=""))
        said = capsys.readouterr()
        # 84 more frames at 24 in 6 s: the first chunk waited for what comes before it.
        assert said.err == "1 of 4 cells · arm-first, steady · 3 latent frames/s · about 21 s left\n"
        ticker.done(cells[1], "ok", "")
        assert "2/4 ok arm-first steady 30" in capsys.readouterr().out
        ticker.done(cells[2], "ok", "")
        ticker.done(cells[3], "skipped", "no use")
        assert ticker.pace.seconds_left() == 0


def test_cells_of_other_processes_count_for_the_time_that_is_left(clock, capsys):
    cells = [a_cell(name) for name in ("mine", "other", "next", "last")]
    with Ticker(cells) as ticker:
        ticker.step(SimpleNamespace(frames=12, cell=cells[0], trouble=""))
        clock.now += 8
        ticker.step(SimpleNamespace(frames=48, cell=cells[0], trouble=""))
        ticker.done(cells[0], "ok", "")
        ticker.done(cells[1], "ok", "")
        # 48 latent frames here and 60 there in 8 s; 120 are left.
        assert ticker.pace.seconds_left() == pytest.approx(120 * 8 / 108)
        assert ticker.rolled == 120


def test_frames_of_an_earlier_run_say_nothing_about_the_time_that_is_left(clock, capsys):
    cells = [a_cell("resumed"), a_cell("next")]
    with Ticker(cells) as ticker:
        for _ in range(3):
            clock.now += 2
            ticker.step(SimpleNamespace(frames=6, cell=cells[0], trouble=""))
        ticker.done(cells[0], "ok", "")
        assert ticker.pace.seconds_left() == pytest.approx(60 / 3)
        assert ticker.rolled == 18


def test_pieces_of_a_long_job_are_told_in_a_pipe(clock, capsys):
    with progress_over(["a", "b", "c", "d"], "planning") as names:
        for _ in names:
            clock.now += 7
    assert capsys.readouterr().err == "planning a, 1 of 4\nplanning c, 3 of 4, about 14 s left\n"
