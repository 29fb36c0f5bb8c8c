"""The loop of a viewer of films: every due metric of every film is measured, and written as soon as it is there.

A failure of one metric of one film is printed and stored with both, and the others are measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, Protocol

from harness.errors import HorizonError, StoreError, did_you_mean, why
from harness.escaping import terminal
from harness.films.contract import Film, check_file, read_films, shard
from harness.films.view_files import OF_FILM, Part, add, due, seen
from suites.viewers.crew import add_options, placed, spread


class Instrument(Protocol):
    """Measures one or more metrics of a film."""

    def remedy(self) -> str | None:
        """Return why it cannot measure and what to do, or None."""

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""


class Parser(argparse.ArgumentParser):
    """A parser of a viewer's options; it raises StoreError for a mistake."""

    def error(self, message: str) -> NoReturn:
        raise StoreError(f"{message} (--help shows the options)")


def listing(parser: Parser, metrics: Iterable[str]) -> None:
    """Add the options that all viewers share: the list of films, a device, a shard, workers, metrics."""
    parser.add_argument("films", type=Path, metavar="FILMS.JSON", help="the list that horizon films FOLDER wrote")
    add_options(parser)
    parser.add_argument(
        "--metric", action="append", metavar="NAME", help=f"one of {', '.join(metrics)}; may be repeated"
    )


def command(
    viewer: str,
    known: Mapping[str, Any],
    parser: Parser,
    instruments: Callable[[argparse.Namespace, Path], Mapping[str, Instrument]],
    words: Sequence[str] | None = None,
) -> None:
    """Run a viewer as a command, which ends with the exit codes that its module documents.

    Parameters
    ----------
    viewer
        Its name, which is that of its folder of views.
    known
        Its metrics by name.
    parser
        Parser of its options.
    instruments
        Returns the instrument of each metric, from the options and the campaign's folder.
    words
        The options; by default those of the process.
    """
    try:
        asked = parser.parse_args(words)
        code = spread(asked, f"suites.viewers.{viewer}.run", sys.argv[1:] if words is None else words)
        if code is not None:
            sys.exit(code)
        placed(asked)
        for name in asked.metric or ():
            if name not in known:
                raise StoreError(f"--metric {name}: unknown{did_you_mean(name, known)}; known: {', '.join(known)}")
        # Kept in the order of declaration, where metrics that share their work are neighbours.
        metrics = [name for name in known if name in (asked.metric or known)]
        films = shard(read_films(asked.films), asked.shard)
        folder = asked.films.parent
        failed = watch(folder, films, metrics, instruments(asked, folder), viewer)
    except HorizonError as error:
        print("horizon: " + terminal(" ".join(str(error).split())), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("horizon: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception:
        # An internal error must not have the exit code of a failed metric.
        traceback.print_exc()
        sys.exit(70)
    if failed:
        print(
            f"horizon: {failed} metrics of films failed, as said above; the same command tries them again",
            file=sys.stderr,
        )
        sys.exit(1)


def watch(
    folder: Path,
    films: Sequence[Film],
    metrics: Iterable[str],
    by: Mapping[str, Instrument],
    viewer: str,
    report: Callable[[str], None] | None = None,
) -> int:
    """Measure films, write the results, and report each film.

    Parameters
    ----------
    folder
        The campaign's folder.
    films, metrics
        What is measured.
    by
        The instrument of each metric.
    viewer
        Name of the viewer.
    report
        Called with each line of the report; by default the lines go to the error stream.

    Returns
    -------
    int
        How many metrics of films failed.
    """
    tell = report or _tell
    remedies = {metric: _remedy(by[metric]) for metric in metrics}
    failed = 0
    for reason in dict.fromkeys(filter(None, remedies.values())):
        names = [metric for metric, each in remedies.items() if each == reason]
        tell(f"{', '.join(names)} skipped: {terminal(reason)}")
    for number, film in enumerate(films, 1):
        try:
            told, faults = visit(folder, film, remedies, by, viewer)
        # A failure on one film does not stop the others.
        except Exception as error:
            told, faults = why(error), len(remedies)
        failed += faults
        tell(f"{number}/{len(films)} {film.id}: {terminal(told)}")
    return failed


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _remedy(instrument: Instrument) -> str | None:
    try:
        return instrument.remedy()
    except Exception:
        # The instrument fails again on each film, and is reported there.
        return None


def visit(
    folder: Path, film: Film, remedies: Mapping[str, str | None], by: Mapping[str, Instrument], viewer: str
) -> tuple[str, int]:
    """Measure every due metric of one film. Return a report in words, and the number of metrics that failed.

    An earlier result is never replaced by a reason for skipping.
    """
    view, looked = seen(folder, viewer, film), []
    trouble: dict[str, list[str]] = {}
    sound = False
    for metric, remedy in remedies.items():
        protocol: dict[str, Any] = {}
        part = Part(skipped=remedy or "")
        if remedy is None:
            try:
                protocol = by[metric].protocol(metric, film)
                protocol["read from"] = film.path.suffix.removeprefix(".")
                protocol[OF_FILM] = {**protocol.get(OF_FILM, {}), "asked": _asked(film)}
                if not due(view, metric, protocol):
                    continue
                sound = sound or check(film)
                part = finite(by[metric].look(metric, film))
                looked.append(metric)
            # A failure of a network on one film concerns this metric only.
            except Exception as error:
                part = Part(skipped=why(error))
                trouble.setdefault(part.skipped, []).append(metric)
        known = view.parts.get(metric)
        if known is None or not part.skipped or (known.skipped and known != part):
            view = add(folder, viewer, view, metric, part, protocol)
    skipped = (f"{', '.join(metrics)} skipped: {reason}" for reason, metrics in trouble.items())
    told = "; ".join([", ".join(looked) or "nothing to look at", *skipped])
    return told, sum(map(len, trouble.values()))


def finite(part: Part) -> Part:
    """Return the part. Raises StoreError for a number that is not finite, which no reader would accept."""
    for at, value in part.samples:
        if value is not None and not math.isfinite(value):
            raise StoreError(f"gave {value} at latent frame {at}; its weights may be damaged")
    return part


def check(film: Film) -> bool:
    """Return True for a film that matches the list. Raises StoreError for one that does not."""
    from suites.viewers.video_file import footage

    check_file(film)
    frames = footage(film.path).frames
    if frames < film.frames:
        raise StoreError(f"{film.path}: holds {frames} frames of {film.frames}; make the video again")
    return True


def _asked(film: Film) -> str:
    """Return a hash of the measurement that the list requests: the same file may have other windows or prompts."""
    asked = [film.rate, film.reference, [asdict(span) for span in film.windows], [asdict(act) for act in film.acts]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
