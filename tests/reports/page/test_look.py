"""Colours, dashes and markers of arms: from the name alone, different enough, and visible on both papers."""

import pytest

from harness import registry
from reports.page.look import DASHES, look

PAPERS = ("#ffffff", "#14161a")
MEMROPE = ("#00a468", "solid", "cross")


def linear(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]


def contrast(one, other):
    light, dark = sorted(
        (sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True)) for each in (one, other)),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("name", [*registry.found("strategies"), *map(str, range(40))])
def test_a_line_is_seen_on_the_light_and_on_the_dark_paper(name, paper):
    assert contrast(look(name, name).colour, paper) >= 3


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_an_arm_looks_alike_in_every_report():
    # Readers know an arm by its colour, so that it must never change.
    assert look("memrope", "memrope") == MEMROPE


def test_a_variant_has_its_strategys_colour_and_another_dash():
    plain, variant = look("memrope", "memrope"), look("memrope", "memrope.window=9")
    assert plain.colour == variant.colour
    assert (plain.dash, variant.dash in DASHES[1:]) == ("solid", True)


def test_strategies_that_ship_have_different_colours():
    colours = [look(name, name).colour for name in registry.found("strategies")]
    assert len(set(colours)) == len(colours)
