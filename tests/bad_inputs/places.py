"""Films, baselines, places that cannot be written, and users that have no home."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.caches import cache_folder
from harness.files import write_text
from harness.films.contract import read_films, shard
from suites.viewers.video_file import footage
from tests.bad_inputs.checker import Bad
from tests.bad_inputs.made import campaign, file, pipe

FILM = {
    "id": "a-0", "path": "cells/a/files/0.mp4", "sha256": "0" * 64, "suite": "drift", "scenario": "steady",
    "frames": 93, "rate": 16.0, "reference": 9, "windows": [{"start": 0, "end": 9, "at_frame": 3}],
    "acts": [{"start": 0, "end": 93, "at_frame": 24, "prompt": "a fox", "boundary": "smooth"}],
}  # fmt: skip


def films(name: str, words: str, **changes: Any) -> Bad:
    """A list of one film of which something is another."""
    text = json.dumps({"format": 1, "films": [{**FILM, **changes}]})
    return Bad(f"a list of films with {name}", ("look",), f"films.json: not a list of films .*{words}.*write it anew",
               file("films.json", text), lambda: read_films(Path("films.json")))  # fmt: skip


def film(name: str, content: bytes, words: str) -> Bad:
    """A film's file."""
    return Bad(f"a film {name}", ("look",), f"a.mp4: {words}", file("a.mp4", content), lambda: footage(Path("a.mp4")))


def _with(*setups: Callable[[Path], object]) -> Callable[[Path], None]:
    def setup(here: Path) -> None:
        for each in setups:
            each(here)

    return setup


def _x(here: Path) -> Path:
    return campaign(here / "x")


def _kept() -> None:
    write_text(cache_folder() / "text" / "a", "what can be computed again")


ACCEPT = ("baseline", "accept", "x", "--to", "b.parquet", "--why", "a test", "--who", "Ada")
NOBODY = (("HOME", None), ("HORIZON_CACHE", None), ("HF_HUB_CACHE", None), ("HF_HOME", None), ("XDG_CACHE_HOME", None))
NAMELESS = (
    *((name, None) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")), ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"), ("GIT_DIR", "/nowhere"),
)  # fmt: skip
FORMAT = '{"format": 1, "films": '

ROWS = [
    films("an id that leads elsewhere", "the id '../x' is not a name of a file", id="../x"),
    films("a path that leads elsewhere", "leads out of the folder", path="/etc/passwd"),
    films("a path upwards", "leads out of the folder", path="../../x.mp4"),
    films("frames in quotes", "frames is not a whole number", frames="93"),
    films("frames of 64 bits", "frames is not a whole number", frames=2**64),
    films("a rate of nan", "rate is not a number above 0", rate=float("nan")),
    films("a rate of nothing", "rate is not a number above 0", rate=0),
    films("windows that are a number", "not iterable", windows=3),
    films("windows without an end", "'end' is missing", windows=[{"start": 0}]),
    films("a prompt that is a number", "prompt is not a text", acts=[{**FILM["acts"][0], "prompt": 3}]),  # type: ignore[index]
    Bad("a list of films of half a file", ("look",), "films.json: cannot be read", file("films.json", FORMAT),
        lambda: read_films(Path("films.json"))),
    Bad("a list of films without films", ("look",), "not a list of films", file("films.json", FORMAT + "3}"),
        lambda: read_films(Path("films.json"))),
    Bad("a list of films that is a pipe", ("look",), "cannot be read .not a regular file", pipe("films.json"),
        lambda: read_films(Path("films.json"))),
    Bad("part 0 of 4", ("look",), "--shard 0/4: write K/N", call=lambda: shard([], "0/4")),
    *(Bad(f"part {which}", ("look",), "--shard .*: write K/N", call=lambda which=which: shard([], which))  # type: ignore[misc]
      for which in ("²/3", "1/³", "9" * 5000 + "/3", "1/" + "9" * 5000)),
    Bad("a part in words", ("look",), "--shard half: write K/N", call=lambda: shard([], "half")),
    Bad("a film that is not there", ("look",), "a.mp4: cannot be read as a video", call=lambda: footage(Path("a.mp4"))),
    film("of nothing", b"", "cannot be read as a video"),
    film("of text", b"not a film\n" * 100, "cannot be read as a video"),
    film("of half a header", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "cannot be read as a video"),
    Bad("a baseline that is not there", ("gate", "x", "--baseline", "b.parquet"), "b.parquet: no such baseline", _x),
    Bad("a baseline of nothing", ("gate", "x", "--baseline", "b.parquet"), "b.parquet: not a whole Parquet file",
        _with(_x, file("b.parquet", b""))),
    Bad("a baseline of text", ("baseline", "show", "b.parquet"), "b.parquet: not a whole Parquet file",
        file("b.parquet", "a baseline\n" * 9)),
    Bad("a baseline over another file", ACCEPT, "not a whole Parquet file", _with(_x, file("b.parquet", "x"))),
    Bad("a baseline that is no Parquet", ("baseline", "accept", "x", "--to", "b.csv", "--why", "a"), "ends in .parquet",
        _x),
    Bad("a baseline without a reason", ("baseline", "accept", "x", "--to", "b.parquet", "--why", " "), "--why is empty",
        _x),
    Bad("a baseline of no run", ACCEPT, "no such baseline|no campaign there"),
    Bad("a history of nothing", ("history", "runs"), "runs: no such folder"),
    Bad("a history of an empty folder", ("history", "runs"), "no run in it", lambda here: (here / "runs").mkdir()),
    Bad("a gate into a file", ("gate", "x", "--baseline", "x", "--out", "a/b"), "cannot write a/b: a is not a folder",
        _with(_x, file("a", "x"))),
    Bad("a report into a file", ("baseline", "accept", "x", "--to", "a/b.parquet", "--why", "a", "--who", "Ada"),
        "cannot write a/b.parquet", _with(_x, file("a", "x"))),
    Bad("no folder that a variable names", ("describe", "self-forcing"),
        "nowhere: no such folder of weights.*HORIZON_WEIGHTS", env=(("HORIZON_WEIGHTS", "nowhere"),)),
    Bad("a cache that is a file", ("keep",), "a/b.*: .*; HORIZON_CACHE names another place for it", file("a", "x"),
        _kept, (("HORIZON_CACHE", "a/b"),)),
    Bad("a home that cannot be written", ("keep",), "/dev/null/.cache.*; HORIZON_CACHE names another place for it",
        call=_kept, env=(*NOBODY, ("HOME", "/dev/null"))),
    Bad("a user without a name", ACCEPT[:-2], "this user has no name here; say with --who", _x, env=NAMELESS),
    Bad("a user without a home", ("describe", "longlive"), "no home folder.*set HF_HUB_CACHE", env=NOBODY),
    Bad("weights in nobody's home", ("describe", "longlive"), "no home folder.*set HORIZON_WEIGHTS",
        env=(*NOBODY, ("HORIZON_WEIGHTS", "~/weights"))),
]  # fmt: skip
