"""Sessions: `nox -s tests`, `nox -s verify`, `nox -s "verify(memrope)"`, ...; `nox --list` shows them all.

What follows `--` goes to the command that a session runs: pytest, `horizon run`, or as its description says.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

sys.path.insert(0, str(Path(__file__).parent))

from tests.environments import (
    ENGINES,
    HORIZON,
    PAGE,
    PERCEPTUAL,
    PROJECT,
    QUALITY_MODELS,
    ROOT,
    VBENCH,
    prepare,
    python,
)

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]

SHARED = ["--workers", str(min(4, os.cpu_count() or 1)), "--threads", "1"]
"""Default options of `horizon run`, which later options override. Cells of the pocket are small: one process per core
computes nearly twice as much as one process on two cores."""
QUALITY, COST = ("drift", "interactive", "distance", "fairness"), ("fps", "latency", "vram")
PARALLEL = ("--numprocesses", "auto", "--dist", "worksteal")
PUSHED = "not nightly and not dry"
STRICT = {"PYTHONWARNDEFAULTENCODING": "1"}
"""Makes reading or writing a text without a named encoding an error (PEP 597)."""
STRATEGIES = sorted(PROJECT["project"]["entry-points"]["horizon.strategies"])


def parallel(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run pytest on all cores."""
    # `worksteal` gives waiting tests to idle processes, since the slowest tests come last. Compiled modules are kept,
    # whatever the shell says, for the hundreds of commands that tests start.
    python(session, "pytest", *PARALLEL, *arguments, PYTHONDONTWRITEBYTECODE="", **variables)


def look(session: nox.Session, viewer: str, module: str) -> None:
    """Run a viewer on the films of a campaign, and make its report again."""
    folder, *rest = session.posargs or ["runs/compare"]
    python(session, "harness.cli", "films", folder)
    failed = None
    try:
        python(session, module, f"{folder}/films.json", *rest, environment=viewer)
    except CommandFailed as error:
        # 1 means that a metric of a film failed; the other metrics are complete.
        if error.return_code != 1:
            raise
        failed = error
    python(session, "harness.cli", "compare", folder)
    if failed is not None:
        raise failed


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests in parallel, those of style, import contracts and types among them."""
    parallel(session, "-m", PUSHED, *session.posargs, **STRICT)


@nox.session
def nightly(session: nox.Session) -> None:
    """The tests that take long, which `tests` leaves out."""
    parallel(session, "-m", "nightly", *session.posargs, **STRICT)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests of a push and print which statements they leave out; fail below 92 %; a quarter of an hour."""
    parallel(session, "-m", PUSHED, *session.posargs, "--cov", "--cov-report=term", "--cov-fail-under=92")


@nox.session(name="cuda-dry")
def cuda_dry(session: nox.Session) -> None:
    """Run all strategies, films and cost suites on a pretended CUDA device, without a GPU. HORIZON_DRY_PYTHON names
    another Python, for instance one with a torch that is built for CUDA; needed is none."""
    words = ("pytest", *PARALLEL, "tests/device", *session.posargs)
    if other := os.environ.get("HORIZON_DRY_PYTHON"):
        session.run(other, "-m", *words, external=True, env={"PYTHONPATH": str(ROOT)})
    else:
        python(session, *words)


@nox.session
def device(session: nox.Session) -> None:
    """Measure a GPU, piece by piece: parity, goldens, speed of every strategy eager, compiled and in CUDA graphs, bytes
    beside the plan, kernels; eight minutes, again for the rest. Writes docs/measured.d and docs/measured.md.
    `-- --only rate/memrope`, `-- --list`. HORIZON_DEVICE_PYTHON names another Python, with a torch for CUDA."""
    words = ("tests.device.lane", *session.posargs)
    if other := os.environ.get("HORIZON_DEVICE_PYTHON"):
        session.run(other, "-m", *words, external=True, env={"PYTHONPATH": str(ROOT)})
    else:
        python(session, *words)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Test every property with new random cases, above all whole rollouts against the oracle.
    `-- --cases 200 --seed 7`: cases per test, and the seed of a run to repeat; other arguments go to pytest."""
    options = argparse.ArgumentParser("nox -s fuzz --")
    options.add_argument("--cases", type=int, default=200, help="random cases per test, and per mode of a strategy")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="seed of all cases")
    asked, rest = options.parse_known_args(session.posargs)
    again = " ".join([f"--cases {asked.cases} --seed {asked.seed}", *rest])
    session.log(f"To repeat these cases: nox -s fuzz -- {again}")
    # The plug-in of Hypothesis gives its tests the mark `hypothesis`.
    parallel(session, "-m", "hypothesis", f"--hypothesis-seed={asked.seed}", *rest, HORIZON_CASES=str(asked.cases))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and likely mistakes by ruff, and the import contracts between packages."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")
    linter = prepare(session, HORIZON).with_name("lint-imports")
    session.run(str(linter), "--no-cache", external=True, env={"PYTHONPATH": str(ROOT)})


@nox.session
def types(session: nox.Session) -> None:
    """Check types by mypy."""
    python(session, "mypy")


@nox.session
def compare(session: nox.Session) -> None:
    """Run every strategy under every quality suite, then make the report."""
    python(session, "harness.cli", "run", "--out", "runs/compare", *SHARED, *session.posargs)
    python(session, "harness.cli", "compare", "runs/compare")


@nox.session
@nox.parametrize("strategy", [nox.param(name, id=name) for name in STRATEGIES])
def bench(session: nox.Session, strategy: str) -> None:
    """Run one strategy and the baseline, quality and cost, in runs/bench-NAME; finished cells are not run again."""
    folder = f"runs/bench-{strategy}"
    both = dict.fromkeys(("sliding_window", strategy))
    chosen = [word for name in both for word in ("--strategy", name)]
    suites = [word for name in (*QUALITY, *COST) for word in ("--suite", name)]
    python(session, "harness.cli", "run", *chosen, *suites, "--out", folder, *SHARED, *session.posargs)
    python(session, "harness.cli", "compare", folder)


@nox.session
def gate(session: nox.Session) -> None:
    """Compare this code with the commit where it left main; fail if quality, speed or memory are worse; six minutes.
    `-- --against REF`, `-- --baseline FILE --measure`, ..."""
    python(session, "harness.cli", "gate", *session.posargs)


@nox.session
def aa(session: nox.Session) -> None:
    """Measure the gate's noise: this code against itself, twelve times; an hour."""
    python(session, "harness.cli", "aa", *session.posargs)


@nox.session
def cost(session: nox.Session) -> None:
    """Measure speed, latency and memory of every strategy, each cell in its own process, then make the report.
    `-- --backbone wan-1.3b --device cuda` on a GPU."""
    suites = [word for name in COST for word in ("--suite", name)]
    python(session, "harness.cli", "run", "--out", "runs/cost", *suites, "--threads", "1", *session.posargs)
    python(session, "harness.cli", "compare", "runs/cost")


@nox.session
def perceptual(session: nox.Session) -> None:
    """Compute LPIPS, DINOv2, CLIP and optical flow of a campaign's films, in an own environment, then make the report.
    `-- FOLDER [OPTIONS]`: the options go to the viewer: `-- runs/compare --device cuda --shard 1/4`."""
    look(session, PERCEPTUAL, "suites.viewers.perceptual.run")


@nox.session
def vbench(session: nox.Session) -> None:
    """Compute VBench-Long of a campaign's films, with the same arguments as `perceptual`."""
    look(session, VBENCH, "suites.viewers.vbench.run")


@nox.session
def quality(session: nox.Session) -> None:
    """Compute MUSIQ of a campaign's films, and HPSv3 and VideoReward where their packages are, with the same arguments
    as `perceptual`."""
    look(session, QUALITY_MODELS, "suites.viewers.quality.run")


@nox.session
def plain(session: nox.Session) -> None:
    """Compute the measures of a campaign's films that need no other model, with the same arguments as `perceptual`."""
    look(session, HORIZON, "suites.viewers.plain.run")


@nox.session
def viewers(session: nox.Session) -> None:
    """Test the viewers in their environments, including VBench's own package; ten minutes the first time."""
    pytest = ("pytest", "-p", "no:cacheprovider", "--confcutdir")
    files = [f"tests/suites/viewers/test_{part}.py" for part in ("video_file", "flow", "perceptual", "structure")]
    python(session, *pytest, "tests/suites", *files, environment=PERCEPTUAL, HORIZON_VIEWER=PERCEPTUAL)
    python(session, *pytest, "tests/vbench", "tests/vbench", environment=VBENCH, HORIZON_VIEWER=VBENCH)


@nox.session
def engines(session: nox.Session) -> None:
    """Test all engines in an environment with Ray and submitit: a cluster of three nodes on this machine, kills of
    workers, nodes and drivers, and array jobs."""
    files = ("tests/engines/test_ray.py", "tests/cli/test_submit.py", "tests/cli/test_engines.py")
    python(session, "pytest", *files, *session.posargs, environment=ENGINES)


@nox.session
def page(session: nox.Session) -> None:
    """Test the page of a report in a browser, Debian's chromium (apt-get install chromium); five minutes.
    HORIZON_PICTURES=write makes the pictures again that it is compared with."""
    # Not in the session's own folder, which is that of its environment and is cleared when that is made.
    folder = ROOT / ".nox" / "showcase"
    shutil.rmtree(folder, ignore_errors=True)
    python(session, "tests.page.showcase", str(folder))
    python(session, "harness.cli", "compare", str(folder))
    words = ("pytest", "-p", "no:cacheprovider", "--confcutdir", "tests/page", "tests/page", *session.posargs)
    python(session, *words, environment=PAGE, HORIZON_PAGE=str(folder))


@nox.session
def faults(session: nox.Session) -> None:
    """Kill a campaign of one, two and three processes at 50 random moments, and compare its tables with those of an
    undisturbed run; ten minutes. `-- --kills 200` for more, `-- --no-locks` as on a file system without locks."""
    python(session, "tests.faults.kills", *session.posargs)


@nox.session
def speed(session: nox.Session) -> None:
    """Measure the cost of a chunk relative to its bare matrix products, and over 2,000 chunks; half an hour."""
    python(session, "tests.benchmarks.cost", *session.posargs)
    python(session, "tests.benchmarks.flat")


@nox.session
def micro(session: nox.Session) -> None:
    """Run micro-benchmarks of the hot parts; `-- --benchmark-compare` compares with an earlier run."""
    store = ("--benchmark-storage", ".benchmarks/micro")
    python(session, "pytest", "tests/benchmarks/test_parts.py", "--benchmark-only", *store, *session.posargs)


@nox.session
def recorded(session: nox.Session) -> None:
    """Convert the seconds recorded in runs/cost (or HORIZON_CAMPAIGN) to pytest-benchmark's."""
    store = ("--benchmark-storage", ".benchmarks/recorded")
    words = ("tests/benchmarks/test_recorded.py", "--benchmark-only", *store, *session.posargs)
    python(session, "pytest", *words, HORIZON_CAMPAIGN=os.environ.get("HORIZON_CAMPAIGN") or "runs/cost")


@nox.session
def card(session: nox.Session) -> None:
    """Make the figures and filmstrips of docs/pocket.md, which show the pocket's quality."""
    python(session, "tests.benchmarks.pocket_card", *session.posargs)


@nox.session
def trust(session: nox.Session) -> None:
    """Hold measures of films against the pocket's truth: which of them rank memories as identity, motion and recall do.
    An hour and a quarter; `-- --rows 8 --frames 60` is a taste."""
    python(session, "tests.benchmarks.trust", *session.posargs)


@nox.session
def film(session: nox.Session) -> None:
    """Make the moving picture at the top of README.md, docs/pictures/four.png; a minute."""
    python(session, "tests.benchmarks.front_film", *session.posargs)


@nox.session
@nox.parametrize("strategy", [nox.param(name, id=name) for name in STRATEGIES])
def verify(session: nox.Session, strategy: str) -> None:
    """Check the invariants of one strategy; without a name in parentheses, of all."""
    python(session, "harness.cli", "verify", strategy)
