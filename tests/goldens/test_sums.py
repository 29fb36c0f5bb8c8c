"""Every golden file is in the tree, as it was stored."""

import hashlib

import pytest

from tests import goldens

SUMS = dict(
    reversed(line.split("  ", 1)) for line in (goldens.FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
)


def test_every_file_is_listed():
    """Data lies in folders; code, README and the list lie beside them."""
    found = {
        str(path.relative_to(goldens.FOLDER))
        for path in goldens.FOLDER.glob("*/**/*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert found == set(SUMS)


@pytest.mark.parametrize("name", SUMS)
def test_every_listed_file_is_there_unchanged(name):
    assert hashlib.sha256((goldens.FOLDER / name).read_bytes()).hexdigest() == SUMS[name]
