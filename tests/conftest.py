"""One thread a test process: the models are tiny, and the tests run in parallel, with processes of their own."""

import importlib.util
import os

# Read when torch is loaded, by this process and by those that tests start: threads that wait for a core that another
# has make a test of seconds one of minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)
if importlib.util.find_spec("hypothesis"):
    # Profiles of random cases are the default from here on; viewers' environments have no Hypothesis.
    from tests import cases  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def strict_encodings_here_only():
    """Processes that tests start print no warnings about files that libraries read without naming an encoding."""
    os.environ.pop("PYTHONWARNDEFAULTENCODING", None)


@pytest.fixture(autouse=True)
def one_thread():
    """Commands that tests call in this process set the number of threads, on which the last bits of others depend."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder of tiny weights in the published formats, which tests only read."""
    # Not at the top: viewers' tests run in environments without Horizon's dependencies.
    from tests import published

    return published.make(tmp_path_factory.mktemp("weights") / "published")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of Horizon's own, and an empty Hugging Face cache."""
    monkeypatch.setenv("HORIZON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HORIZON_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"
