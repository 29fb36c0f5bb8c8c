"""Measure a GPU, piece by piece, with random weights of Wan2.1-1.3B.

nox -s device                                    # all pieces, as far as --seconds allow; again: the rest
python -m tests.device.lane --only rate/memrope  # pieces whose name begins so
python -m tests.device.lane --list

Pieces: `doctor` (kernels, and parity of every strategy with the CPU), `tests` (those marked gpu), `goldens` (numbers of
the released codes, within 1e-4), `rate/ARM/COMPILE` (speed, latency, a switch, bytes beside the plan),
`stream/DECODER/graphs` (the same with chunks decoded beside the next ones), `kernels/COMPILE`, `minutes` (three minutes
of video), `noise/N` (the same rate in twelve processes). Every piece is written to docs/measured.d/DEVICE.json when it
ends, and is not run again; the tables of docs/measured.md follow. Exit code 1 if a piece failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import torch

from harness import registry
from harness.backbone.presets import Backbone, Codec
from harness.backbone.published.light import LightCodec, Networks
from harness.backbone.published.vae import WanCodec, autoencoder
from harness.backbone.request import Compilation
from harness.errors import why
from tests.device.lane.kernels import shares
from tests.device.lane.rates import arms, grows, rate, stream
from tests.device.lane.results import Results, write_tables

ROOT = Path(__file__).parents[3]
BASELINE = "sliding_window"
LAUNCHES = 12
MINUTES = 720
"""Latent frames of three minutes."""
Piece = Callable[[], dict[str, Any]]


@cache
def stage() -> Backbone:
    """Return the model, which all pieces of a process share."""
    return registry.backbone("wan-1.3b", device="cuda")


def pieces() -> dict[str, Piece]:
    """Return all pieces by name, the most important ones first."""
    found: dict[str, Piece] = {"doctor": doctor}
    ways: list[Compilation] = list(get_args(Compilation))
    found |= {f"rate/{BASELINE}/{way}": partial(_rate, BASELINE, way) for way in ways}
    found |= {f"stream/{decoder}/graphs": partial(_stream, decoder) for decoder in ("light", "wan")}
    found |= {"tests": tests, "goldens": goldens}
    found |= {f"kernels/{way}": partial(_shares, way) for way in ways}
    for way in ("graphs", "off", "blocks"):
        found |= {f"rate/{arm}/{way}": partial(_rate, arm, way) for arm in arms() if arm != BASELINE}
    found["minutes"] = lambda: grows(stage(), BASELINE, "graphs", MINUTES)
    return found | {f"noise/{number:02}": _launched for number in range(1, LAUNCHES + 1)}


def _rate(arm: str, compile: Compilation) -> dict[str, Any]:
    return rate(stage(), arm, compile)


def _stream(decoder: str) -> dict[str, Any]:
    if decoder == "wan":
        # A library that the machine may not have.
        codec: Codec = WanCodec(autoencoder()().to(stage().model.dtype), device="cuda")
    else:
        codec = LightCodec(Networks().to("cuda", stage().model.dtype))
    return stream(stage(), BASELINE, "graphs", codec)


def _shares(compile: Compilation) -> dict[str, Any]:
    return shares(stage(), BASELINE, compile)


def _launched() -> dict[str, Any]:
    """Return the baseline's rate in a process of its own."""
    words = ("--only", f"rate/{BASELINE}/graphs", "--print")
    told = json.loads(_run("-m", "tests.device.lane", *words).splitlines()[-1])
    return {"dit_fps": told["dit_fps"]}


def doctor() -> dict[str, Any]:
    """Return what the doctor finds."""
    words = ("-m", "harness.cli", "doctor", "--device", "cuda", "--backbone", "wan-1.3b", "--json")
    # It exits with 1 where something limits the machine, an encoder for instance.
    told = json.loads(_run(*words, allowed=(0, 1, 2)))
    bad = {check["name"]: check["found"] for check in told["checks"] if check["state"] != "ok"}
    if told["exit_code"] == 2:
        raise RuntimeError(f"the doctor says: {bad}")
    facts = {
        check["name"]: check["facts"] for check in told["checks"] if check["group"] in ("machine", "kernels", "parity")
    }
    return {"not well": bad, "facts": facts}


def tests() -> dict[str, Any]:
    """Run the tests that need a device."""
    return {"summary": _run("-m", "pytest", "-q", "-m", "gpu", "tests/engines/test_gpu.py").splitlines()[-1]}


def goldens() -> dict[str, Any]:
    """Run the tests of goldens with their models on the device."""
    files = sorted(str(path) for path in (ROOT / "tests/strategies").glob("test_*goldens.py"))
    return {"summary": _run("-m", "pytest", "-q", "-p", "tests.device.lane.on_device", *files).splitlines()[-1]}


def _run(*words: str, allowed: tuple[int, ...] = (0,)) -> str:
    """Run Python and return what it prints. Raises RuntimeError, with its last lines, for another exit code."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode not in allowed:
        last = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: " + " / ".join(last))
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480.0, help="begin no piece after so many")
    parser.add_argument("--only", action="append", default=[], help="pieces whose name begins so")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/measured.d", help="folder of the devices' results")
    parser.add_argument("--again", action="store_true", help="also pieces that are there")
    parser.add_argument("--list", action="store_true", help="print the names of all pieces")
    parser.add_argument("--print", action="store_true", help="print the result of one piece as JSON, and keep nothing")
    asked = parser.parse_args()
    chosen = {name: piece for name, piece in pieces().items() if not asked.only or name.startswith(tuple(asked.only))}
    if asked.list or not chosen:
        print("\n".join(pieces()))
        return 0 if asked.list else 2
    if not torch.cuda.is_available():
        print("horizon: no CUDA device here; nox -s cuda-dry checks its paths without one", file=sys.stderr)
        return 2
    if asked.print:
        print(json.dumps(next(iter(chosen.values()))()))
        return 0
    results = Results(asked.out, torch.cuda.get_device_name())
    began, failed, left = time.monotonic(), 0, 0
    for name, piece in chosen.items():
        if name in results and not asked.again:
            continue
        if time.monotonic() - began > asked.seconds:
            left += 1
            continue
        start = time.monotonic()
        try:
            found = piece()
        except Exception as error:
            # The other pieces are still worth the time on the device.
            found, failed = {"error": why(error)}, failed + 1
            torch.cuda.empty_cache()
        results.keep(name, found | {"seconds": round(time.monotonic() - start, 1)})
        print(f"{name}: {_line(found)}", flush=True)
    launches = [found for name, found in results.pieces.items() if name.startswith("noise/")]
    rates = [found["dit_fps"] for found in launches if "dit_fps" in found]
    if len(rates) > 1:
        print(f"noise of {len(rates)} launches: {statistics.stdev(rates) / statistics.fmean(rates):.2%}")
    if asked.out == parser.get_default("out"):
        write_tables(asked.out, ROOT / "docs/measured.md")
    print(f"{results.path}: {len(results.pieces)} pieces, {failed} failed now, {left} left for the next run")
    return 1 if failed else 0


def _line(found: dict[str, Any]) -> str:
    """Return the results of a piece in one line."""
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {str(value)[:200]}"
                     for key, value in found.items() if not isinstance(value, dict))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
