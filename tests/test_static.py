"""Style, import contracts and types, checked beside the other tests so that they use a core of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))
CHECKS = {
    "style": (sys.executable, "-m", "ruff", "check", "."),
    "format": (sys.executable, "-m", "ruff", "format", "--check", "."),
    "imports": (LINT_IMPORTS, "--no-cache"),
    "types": (sys.executable, "-m", "mypy"),
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_passes(check: str) -> None:
    found = subprocess.run(CHECKS[check], check=False, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
