"""The plain viewer: measures of the pictures themselves over finished videos. It needs no other model.

    python -m suites.viewers.plain.run FOLDER/films.json

It runs in Horizon's own environment. Exit codes are those of the perceptual viewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.films.contract import Film
from harness.films.view_files import OF_FILM, Part
from suites.film_measures.declared import LEVELS, PICTURES, PLAIN
from suites.viewers.watching import Instrument, Parser, command, listing

if TYPE_CHECKING:
    from suites.viewers.plain.tracks import Looks

VIEWER = "plain"
METRICS = PLAIN
SAMPLING = "every frame; levels: the middle frame of each second; features: means over a grid of 16 by 16"


class Plain:
    """Measures films; the last one is kept, since all measures are made of one reading."""

    def __init__(self) -> None:
        self._last: tuple[Film, Looks] | None = None

    def remedy(self) -> str | None:
        """Return None: it can always measure."""
        return None

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        return {"sampling": SAMPLING, OF_FILM: {"chunk": film.chunk}} if metric == "pulse" else {"sampling": SAMPLING}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""
        from suites.viewers.plain.measures import of_film
        from suites.viewers.plain.tracks import looked_at

        if self._last is None or self._last[0] != film:
            self._last = film, looked_at(film)
        return of_film(metric, film, self._last[1])


def instruments(asked: argparse.Namespace | None, folder: Path) -> Mapping[str, Instrument]:
    """Return the instrument of each metric."""
    return dict.fromkeys(METRICS, Plain())


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser("python -m suites.viewers.plain.run", description="Measure a campaign's finished videos.")
    listing(parser, METRICS)
    command(VIEWER, METRICS, parser, instruments, words)


__all__ = ["LEVELS", "METRICS", "PICTURES", "VIEWER", "Plain", "instruments", "main"]

if __name__ == "__main__":
    main()
