"""Where Horizon looks for the Hugging Face cache is where Hugging Face's own libraries have it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import caches
from harness.errors import CheckpointError

VARIABLES = (
    *("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HORIZON_CACHE"),
)
CASES = (
    {},
    {"HF_HUB_CACHE": "/a/hub"},
    {"HF_HUB_CACHE": "~/hub"},
    {"HF_HUB_CACHE": "$HOME/${PLACE}/hub", "PLACE": "disk"},
    {"HF_HUB_CACHE": "/a/hub", "HUGGINGFACE_HUB_CACHE": "/b/hub", "HF_HOME": "/c"},
    {"HUGGINGFACE_HUB_CACHE": "~/older", "HF_HOME": "/c"},
    {"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/x"},
    {"HF_HOME": "$PLACE/hf", "PLACE": "/disk"},
    {"XDG_CACHE_HOME": "/x"},
    {"XDG_CACHE_HOME": "~/x"},
    *({"HF_HUB_OFFLINE": value} for value in ("1", "on", "Yes", "TRUE", "0", "2", "")),
    {"TRANSFORMERS_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
)
ASKED = """
import importlib, json, os, sys
from huggingface_hub import constants
for case in json.load(sys.stdin):
    os.environ.update(case)
    constants = importlib.reload(constants)
    print(json.dumps([constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE]))
    for name in case:
        del os.environ[name]
"""


@pytest.fixture
def plain(monkeypatch):
    """None of the variables is set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(scope="module")
def theirs():
    """What huggingface_hub says in every case."""
    pytest.importorskip("huggingface_hub", reason="needs the extra models")
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        input=json.dumps(CASES), capture_output=True, encoding="utf-8", env=environment, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_hub_is_where_its_own_library_has_it(theirs, plain, number):
    for name, value in CASES[number].items():
        plain.setenv(name, value)
    place, offline = theirs[number]
    assert caches.hub_cache() == Path(place)
    assert bool(caches.forbids_downloads()) == offline


def test_an_empty_variable_is_none(plain):
    usual = caches.hub_cache(), caches.cache_folder()
    for name in VARIABLES:
        plain.setenv(name, "")
    assert (caches.hub_cache(), caches.cache_folder()) == usual


def test_the_variable_that_forbids_downloads_is_named(plain):
    plain.setenv("TRANSFORMERS_OFFLINE", "yes")
    assert caches.forbids_downloads() == "TRANSFORMERS_OFFLINE"
    plain.setenv("HF_HUB_OFFLINE", "1")
    assert caches.forbids_downloads() == "HF_HUB_OFFLINE"


@pytest.mark.parametrize(
    ("find", "variable"), [(caches.cache_folder, "HORIZON_CACHE"), (caches.hub_cache, "HF_HUB_CACHE")]
)
def test_a_user_without_a_home_is_told_which_variable_to_set(plain, find, variable):
    def nowhere(path):
        raise RuntimeError("Could not determine home directory.")

    plain.setattr(Path, "expanduser", nowhere)
    with pytest.raises(CheckpointError, match=f"no home folder .*; set {variable} to a folder, or HOME"):
        find()
