"""A report that follows its campaign: a server on this machine, which makes the page again when cells finish."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.errors import HorizonError
from harness.store.cells import CELL
from harness.store.store import MANIFEST

PORT = 8017
VERSION = "/version"
"""Address at which the page asks whether there is a newer one."""
RELOAD = """<script>let version = ""; setInterval(async () => {
  try { const now = await (await fetch("/version")).text();
    if (version && now !== version && !$("#rollout").open) location.reload();
    version ||= now; } catch {} }, 2000);</script>
"""
"""Added to the page that is served; the file itself never asks for anything."""
ALONE, FOLLOWS = "connect-src 'none'", "connect-src 'self'"
FILES = ("/report.md", "/table.csv", "/pairs.csv", "/records.parquet")
FOLDERS = ("/cells/", "/plots/")
"""Subfolders of a campaign's folder that are served; the states of running cells are not."""


def fingerprint(*folders: Path) -> str:
    """Return a text that changes when a campaign gets, loses or replaces a finished cell, or another manifest."""
    times: list[tuple[str, int]] = []
    for folder in folders:
        there = [folder / MANIFEST, *sorted((folder / "cells").glob(f"[!.]*/{CELL}"))]
        times += [(str(path), path.stat().st_mtime_ns) for path in there if path.exists()]
    return f"{hash(tuple(times)) & 0xFFFFFFFFFFFFFFFF:016x}"


class Server:
    """Server of a report on this machine only, which makes the report again when its campaigns change.

    Parameters
    ----------
    folders
        The campaigns' folders.
    place
        The report's folder.
    make
        Makes the report; a `HorizonError` of it (no finished cell yet) leaves the page as it is.
    port
        0 for any free one.
    every
        Seconds between two looks at the folders.
    """

    def __init__(
        self, folders: list[Path], place: Path, make: Callable[[], Any], port: int = PORT, every: float = 2.0
    ) -> None:
        self.folders, self.make, self.every = folders, make, every
        self.seen, self.trouble = "", ""
        self.stopped = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, self, directory=str(place)))

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.http.server_address[1]}/"

    def look(self) -> bool:
        """Make the report again if a campaign has changed; return whether it was made."""
        now = fingerprint(*self.folders)
        if now == self.seen:
            return False
        try:
            self.make()
        except HorizonError as error:
            self.trouble = str(error)
            return False
        self.seen, self.trouble = now, ""
        return True

    def run(self, notify: Callable[[bool], None] = lambda made: None) -> None:
        """Serve until `stop` is called, or Ctrl-C. notify: called after every look; gets whether it made the report."""
        thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        thread.start()
        try:
            while not self.stopped.is_set():
                notify(self.look())
                self.stopped.wait(self.every)
        finally:
            self.http.shutdown()
            self.http.server_close()

    def stop(self) -> None:
        """End `run`."""
        self.stopped.set()


class _Handler(SimpleHTTPRequestHandler):
    """Gives the files of a report, and the version of its page."""

    def __init__(self, server: Server, *arguments: Any, **options: Any) -> None:
        self.report = server
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Answer a request for the page, its version, or a file beside it."""
        path = self.path.partition("?")[0]
        if path == VERSION:
            self._say(self.report.seen)
        elif path == "/" and not (Path(self.directory) / "report.html").exists():
            waiting = (
                '<!doctype html><meta http-equiv="refresh" content="2"><title>Horizon</title><p>No finished cell yet.'
            )
            self._say(waiting, "text/html; charset=utf-8")
        elif path in ("/", "/report.html"):
            page = (Path(self.directory) / "report.html").read_text(encoding="utf-8")
            head, _, tail = page.rpartition("</body>")
            page = f"{head.replace(ALONE, FOLLOWS, 1)}{RELOAD}</body>{tail}"
            self._say(page, "text/html; charset=utf-8")
        elif path in FILES or (path.startswith(FOLDERS) and not path.endswith("/")):
            super().do_GET()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        """Refuse: no page asks so."""
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    def end_headers(self) -> None:
        """Let no browser keep an old page."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the command prints what matters."""

    def _say(self, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        data = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
