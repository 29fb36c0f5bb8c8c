"""Report of films for which a viewer could not measure a metric."""

from harness.campaign.film_list import remedies
from harness.films.view_files import Part, View, add
from harness.store.store import Store
from reports.report import render
from tests.bad_inputs.made import campaign


def test_films_in_which_a_metric_failed_are_named(tmp_path):
    store = Store(campaign(tmp_path / "x"))
    sums = {cell.id: cell.about["files"]["0.mp4"] for cell in store.cells()}
    parts = {
        "memrope-0": {"lpips": Part(((6, 0.5),)), "flow": Part(skipped="needs a package")},
        "memrope-1": {"lpips": Part(skipped="x: 8x8 is too small"), "flow": Part(skipped="needs a package")},
    }
    for cell, found in parts.items():
        for metric, part in found.items():
            add(store.folder, "perceptual", View(f"{cell}-0", sums[cell]), metric, part, {})
    assert remedies(store) == {"flow": "needs a package", "lpips of memrope-1-0": "x: 8x8 is too small"}
    render(store.folder)
    assert "- skipped: lpips of memrope-1-0: x: 8x8 is too small\n" in (store.folder / "report.md").read_text(
        encoding="utf-8"
    )


def test_of_many_films_a_few_are_named(tmp_path):
    store = Store(campaign(tmp_path / "x", range(5)))
    for cell in store.cells():
        part = Part(((6, 0.5),)) if cell.id == "memrope-0" else Part(skipped="why")
        add(store.folder, "perceptual", View(f"{cell.id}-0", cell.about["files"]["0.mp4"]), "lpips", part, {})
    assert list(remedies(store)) == ["lpips of memrope-1-0, memrope-2-0, memrope-3-0, 6 more"]
