"""Fixtures of all tests, and one thread per test process: the models are tiny, and the tests run in parallel."""

import importlib.util
import os

# torch reads it when it is imported, here and in processes that tests start. With more threads than cores, a test of
# seconds can take minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)
if importlib.util.find_spec("hypothesis"):
    # The import sets the default profile of random cases; viewers' environments have no Hypothesis.
    from tests import cases  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def strict_encodings_here_only():
    """Remove the variable that would make child processes warn about libraries that name no encoding of a file."""
    os.environ.pop("PYTHONWARNDEFAULTENCODING", None)


@pytest.fixture(autouse=True)
def one_thread():
    """Reset the number of threads, which commands in this process may set, and on which the last bits depend."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def undrawn(monkeypatch):
    """Let plots of reports be composed but not drawn."""
    from tests.short import keep_place

    monkeypatch.setattr("reports.plots.panels.save", keep_place)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Return a folder of tiny weights in the published formats, which tests must not change."""
    # Imported here, because viewers' tests run in environments without Horizon's dependencies.
    from tests import published

    return published.make(tmp_path_factory.mktemp("weights") / "published")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Return an empty cache folder of Horizon for this test, which also gets an empty Hugging Face cache."""
    monkeypatch.setenv("HORIZON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HORIZON_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"
