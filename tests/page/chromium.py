"""The browser and the campaign that tests of pages need."""

import os
import shutil

import pytest

FOLDER = os.environ.get("HORIZON_PAGE", "")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = [
    pytest.mark.skipif(not FOLDER, reason="HORIZON_PAGE names no campaign: nox -s page"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
