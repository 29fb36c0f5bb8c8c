"""The page in a real browser: every control, no error, no request, accessible, and like its pictures.

`nox -s page` makes a campaign with `tests.page.showcase` and runs these tests in an environment of their own.
HORIZON_PAGE names the campaign's folder; HORIZON_PICTURES=write makes the pictures again.
"""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.page.chromium import FOLDER, NEEDED

pytestmark = NEEDED
PICTURES = Path(__file__).parent / "pictures"
WIDTHS = (360, 1300, 2560)
SMALL, APART = 200, 12.0
"""Width in pixels of a committed picture, and the mean difference of grey values (of 255) that fonts may make."""


def labels(page, table="table-0"):
    return page.eval_on_selector_all(f"#{table} tbody tr:not([hidden])", "rows => rows.map(row => row.dataset.arm)")


def test_a_heading_sorts_and_sorts_back(opened):
    page = opened()
    head = page.locator("#table-0 thead th").nth(3)
    head.locator(".sort").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = page.eval_on_selector_all("#table-0 tbody tr", "rows => rows.map(row => +row.cells[3].dataset.v)")
    assert values == sorted(values, reverse=True)
    head.locator(".sort").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    page.evaluate("head = document.querySelector('#table-0 th:nth-child(4)')")
    once = "() => { const began = performance.now(); sort(head); head.offsetHeight; return performance.now() - began }"
    took = sorted(page.evaluate(once) for _ in range(7))[3]
    assert took <= 100


def test_arms_are_hidden_filtered_and_shown_again(opened):
    page = opened()
    page.click("#bar summary")
    page.fill("#filter", "sink")
    assert labels(page) == ["attention_sink", "ema_sink", "rolling_sink"]
    page.fill("#filter", "")
    page.uncheck(".chip input[value=memrope]")
    assert "memrope" not in labels(page)
    assert "memrope" not in [text.strip() for text in page.locator("#price .legend button").all_inner_texts()]
    page.click("#none")
    assert labels(page) == []
    page.click("#all")
    assert len(labels(page)) == 16


def test_any_arm_can_be_the_baseline(opened):
    page = opened()
    page.click("#bar summary")
    page.select_option("#baseline", "memrope")
    mark = "#table-0 tr[data-arm=sliding_window] td:nth-child(4) .mark"
    assert page.inner_text(mark) == "▼"
    assert "worse than memrope" in page.inner_text("#marks")
    page.select_option("#mode", "differences")
    assert page.inner_text("#table-0 tr[data-arm=sliding_window] td:nth-child(4) .value").startswith("-0.")
    assert page.inner_text("#table-0 tr[data-arm=memrope] td:nth-child(4) .value") == "0"
    assert "baseline=memrope" in page.url
    page.select_option("#mode", "numbers")
    page.select_option("#baseline", "sliding_window")
    assert page.inner_text("#table-0 tr[data-arm=memrope] td:nth-child(4) .mark") == "▲"
    assert "worse than sliding_window" in page.inner_text("#marks")


def copied(page, kind):
    page.evaluate("navigator.clipboard.writeText('')")
    page.click(f"#tables .sheet:first-of-type [data-copy={kind}]")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('copied')")
    return page.evaluate("navigator.clipboard.readText()")


def test_a_copy_as_csv_is_of_table_csv(opened):
    page = opened()
    rows = list(csv.DictReader(io.StringIO(copied(page, "csv"))))
    with (Path(FOLDER) / "table.csv").open(encoding="utf-8") as file:
        every = list(csv.DictReader(file))
    assert len(rows) > 100
    assert all(row in every for row in rows)
    page.click("#bar summary")
    page.uncheck(".chip input[value=memrope]")
    assert "memrope" not in {row["arm"] for row in csv.DictReader(io.StringIO(copied(page, "csv")))}


def test_a_copy_as_markdown_is_a_table(opened):
    head, rule, *rows = copied(opened(), "md").splitlines()
    assert head.startswith("| strategy | cache (kB) |")
    assert rule.count("---:") == head.count("|") - 2
    assert len(rows) == 16


def test_a_copy_as_latex_compiles(opened, tmp_path):
    text = copied(opened(), "tex")
    assert "\\toprule" in text
    assert "sliding\\_window" in text
    assert text.count("\\\\") == 17
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    whole = "\\documentclass[landscape]{article}\\usepackage{booktabs,amssymb}\\begin{document}\\tiny\n" + text
    (tmp_path / "t.tex").write_text(whole + "\\end{document}\n", encoding="utf-8")
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_a_heading_says_what_it_means(opened):
    page = opened()
    page.locator("#table-0 .why").nth(3).click()
    told = page.locator("#table-0 .about:popover-open")
    assert told.inner_text().startswith("Attributes that only the memory knows")
    page.keyboard.press("Escape")
    assert told.count() == 0


def test_a_legend_brings_an_arm_forward_and_the_address_keeps_it(opened):
    page = opened()
    page.locator("#price .legend button", has_text="memflow").click()
    assert page.url.endswith("#arm=memflow")
    assert page.locator("#price .legend button[aria-pressed=true]").inner_text().strip() == "memflow"
    again = opened(address="#arm=memflow&metric=motion")
    assert "chosen" in again.get_attribute("#table-0 tr[data-arm=memflow]", "class")


def test_a_chart_has_its_numbers_behind_it(opened):
    page = opened()
    page.locator("#price .numbers summary").click()
    assert page.locator("#price .numbers tbody tr").count() == 32


def test_a_point_of_a_curve_opens_its_rollout(opened):
    page = opened()
    chart = page.locator("#curves figure.chart").first
    chart.scroll_into_view_if_needed()
    page.wait_for_selector("#curves figure.drawn .main-svg")
    page.evaluate("document.querySelector('#curves .plot').emit('plotly_click', {points: [{data: {meta: 'memrope'}}]})")
    assert page.locator("#rollout").is_visible()
    told = page.inner_text("#about-rollout")
    assert "a thing" in told
    assert "horizon run --strategy memrope --suite drift" in told
    page.select_option("#which-arm", "memflow")
    assert "horizon run --strategy memflow" in page.inner_text("#about-rollout")
    page.select_option("#which-row", index=1)
    page.select_option("#which-block", label="drift, occlusion, 21 s")
    assert "a curtain" in page.inner_text("#about-rollout")
    page.click("#close")
    assert not page.locator("#rollout").is_visible()


def test_a_row_of_a_table_opens_a_rollout_by_the_keyboard(opened):
    page = opened()
    page.locator("#table-0 tr[data-arm=full] .arm").press("Enter")
    assert page.input_value("#which-arm") == "full"
    page.keyboard.press("Escape")
    assert not page.locator("#rollout").is_visible()


def test_all_films_play_in_step(opened):
    page = opened()
    page.locator("#films").scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('#grid video')].length === 17")
    page.wait_for_function("() => [...document.querySelectorAll('#grid video')].every(film => film.readyState >= 2)")
    page.locator("#time").fill("30")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#grid video')].every(film => Math.abs(film.currentTime - 30) < .6)"
    )
    page.click("#play")
    page.wait_for_function("() => +document.getElementById('time').value > 32")
    page.click("#play")
    times = page.eval_on_selector_all("#grid video", "films => films.map(film => film.currentTime)")
    assert max(times) - min(times) < 4
    page.select_option("#speed", "8")
    page.select_option("#scene", index=1)
    assert "scene=" in page.url


def test_a_page_changes_between_light_and_dark(opened):
    page = opened(scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 22, 26)"
    page.click("#theme")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(opened, width):
    page = opened(width)
    page.evaluate("document.querySelectorAll('figure.chart:not(.drawn)').forEach(draw)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(scheme=scheme)
    page.click("#bar summary")
    page.evaluate("document.querySelectorAll('figure.chart:not(.drawn)').forEach(draw)")
    found = axe.run(page).response["violations"]
    page.locator("#table-0 .arm").first.click()
    found += axe.run(page, context="#rollout").response["violations"]
    serious = [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found
               if each["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_looks_as_it_did(opened, width, scheme):
    image = pytest.importorskip("PIL.Image")
    stat = pytest.importorskip("PIL.ImageStat")
    page = opened(width, scheme)
    page.wait_for_timeout(500)
    seen = image.open(io.BytesIO(page.screenshot())).convert("L")
    seen = seen.resize((SMALL, round(SMALL * seen.height / seen.width)))
    kept = PICTURES / f"{width}-{scheme}.png"
    if os.environ.get("HORIZON_PICTURES") == "write":
        seen.save(kept)
    before = image.open(kept)
    assert before.size == seen.size
    from PIL import ImageChops

    assert stat.Stat(ImageChops.difference(before, seen)).mean[0] < APART
