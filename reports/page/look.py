"""Colour, dash and marker of an arm, from its name alone: an arm looks alike in every report."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

SALT = 25_084
"""With it, the colours of the strategies that ship are as different as the hash allows."""
LIGHTNESS, CHROMA = (0.53, 0.63), 0.15
"""OKLCH: both lightnesses have a contrast of at least 3 to the light and to the dark paper."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "pentagon", "star")
TO_LMS = ((1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728), (1, -0.0894841775, -1.2914855480))
TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
"""From OKLab by way of the cones to linear sRGB (Ottosson 2020)."""


class Look(NamedTuple):
    """How an arm is drawn: colour "#rrggbb", dash and marker by plotly's names."""

    colour: str
    dash: str
    mark: str


def look(strategy: str, label: str) -> Look:
    """Return how an arm is drawn: its colour from the strategy, its dash and marker from the knobs in its label."""
    found = hashlib.sha256(f"{SALT}{strategy}".encode()).digest()
    hue = int.from_bytes(found[:2], "big") / 65_536 * 2 * math.pi
    colour = _rgb(LIGHTNESS[found[2] & 1], CHROMA * math.cos(hue), CHROMA * math.sin(hue))
    variant = label.removeprefix(strategy)
    number = int.from_bytes(hashlib.sha256(variant.encode()).digest()[:2], "big") if variant else 0
    dash = DASHES[1 + number % (len(DASHES) - 1)] if variant else DASHES[0]
    return Look(colour, dash, MARKS[(found[3] + number) % len(MARKS)])


def _rgb(lightness: float, a: float, b: float) -> str:
    cones = [(x * lightness + y * a + z * b) ** 3 for x, y, z in TO_LMS]
    linear = [sum(weight * cone for weight, cone in zip(row, cones, strict=True)) for row in TO_RGB]
    inside = [min(max(each, 0.0), 1.0) for each in linear]
    coded = [12.92 * each if each <= 0.0031308 else 1.055 * each ** (1 / 2.4) - 0.055 for each in inside]
    return "#" + "".join(f"{round(255 * each):02x}" for each in coded)
