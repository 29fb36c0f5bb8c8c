"""What the pictures showed and no control does: names of scenes, lines of tables, print, and heat maps in a browser."""

import pytest

from tests.page.chromium import NEEDED

pytestmark = NEEDED

DRAW = "document.querySelectorAll('figure.chart:not(.drawn)').forEach(draw)"
PANEL = """{ title: "equal budget", rows: ["memrope"], columns: ["exact", "int8"], arms: [
    { arm: "memrope", row: "memrope", column: "exact", x: ["exact"], y: [0.9], lo: [0.8], hi: [0.95], n: [8] }] }"""


@pytest.mark.parametrize("width", [360, 768, 1300, 2560])
def test_names_of_scenes_do_not_lie_on_each_other(opened, width):
    page = opened(width)
    page.evaluate(DRAW)
    page.wait_for_timeout(300)
    boxes = page.evaluate("""() => [...document.querySelectorAll('.plot')].map(plot =>
        [...plot.querySelectorAll('.annotation-text')].map(text => {
            const box = text.getBoundingClientRect(); return [box.left, box.right]; }))""")
    assert any(boxes)
    for found in boxes:
        for (_, before), (after, _) in zip(sorted(found), sorted(found)[1:], strict=False):
            assert before <= after


@pytest.mark.parametrize("width", [360, 1300])
def test_rows_are_whole_pixels_so_that_no_line_disappears_under_the_first_column(opened, width):
    page = opened(width)
    heights = page.eval_on_selector_all(
        "#table-0 tbody tr", "rows => rows.map(row => row.getBoundingClientRect().height)"
    )
    assert all(height == round(height) for height in heights)


def test_print_has_every_chart_and_no_controls(opened):
    page = opened(794, "dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("figure.chart:not(.drawn)").count() == 0
    assert not page.locator("#bar").is_visible()
    assert not page.locator(".copy").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_heat_map_is_a_table_whose_cells_open_rollouts(opened):
    page = opened()
    page.evaluate(f"document.querySelector('main').append(heat({{ title: 'bits', range: [0, 1] }}, {PANEL}))")
    assert page.locator(".heat tbody tr").first.inner_text().split() == ["memrope", "0.9", "[0.8,", "0.95]"]
    page.locator(".heat button").first.click()
    assert page.locator("#which-arm").input_value() == "memrope"
