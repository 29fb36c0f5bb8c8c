"""Devices of workers, and their names in locks."""

import os

import pytest
import torch

from harness.campaign.campaign import make_campaign
from harness.cli.runs.engines import Crew
from harness.engines.sharing import devices
from harness.engines.sharing.devices import Place, given_threads, key, places, visible
from harness.errors import CampaignError


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_every_visible_device_has_one_worker_that_sees_only_it(four, monkeypatch):
    assert [place.variables() for place in places("cuda")] == [
        {"CUDA_VISIBLE_DEVICES": str(number), "LOCAL_RANK": str(number)} for number in range(4)
    ]
    assert places("cuda", 2) == [Place("0", 0), Place("1", 1)]
    assert places("cuda:2") == [Place("2", 0)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5, GPU-7")
    assert [place.device for place in places("cuda")] == ["GPU-5", "GPU-7"]
    assert visible("cuda:1") == ["GPU-7"]


def test_more_workers_than_devices_are_refused(four):
    with pytest.raises(CampaignError, match=r"--workers 8: 4 devices can be seen here \(0, 1, 2, 3\).*--workers 4 or"):
        places("cuda", 8)
    with pytest.raises(CampaignError, match=r"--workers 2: 1 device can be seen here \(1\)"):
        places("cuda:1", 2)


def test_workers_on_one_cpu_split_its_cores(monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 8)
    assert places("cpu") == [Place("", 0)]
    assert places("cpu", 3) == [Place("", number, 2) for number in range(3)]
    assert places("cpu", 3, threads=5) == [Place("", number) for number in range(3)]
    assert places("cpu", 20)[0].threads == 1
    assert given_threads({"HORIZON_WORKER_THREADS": "2"}) == 2
    assert given_threads({}) is None
    assert Place("", 1, 2).variables() == {"LOCAL_RANK": "1", "HORIZON_WORKER_THREADS": "2"}


def test_a_cpu_is_one_device_and_pretended_ones_differ(monkeypatch):
    cpu = torch.device("cpu")
    alone = key(cpu)
    assert key(cpu) == alone
    monkeypatch.setenv("HORIZON_PRETENDED_DEVICES", "2")
    names = []
    for place in places("cpu"):
        for name, value in place.variables().items():
            monkeypatch.setenv(name, value)
        names.append(key(cpu))
    assert names == [f"{alone}-0", f"{alone}-1"]
    with pytest.raises(CampaignError, match=r"--workers 3: 2 devices can be seen here \(0, 1\)"):
        places("cpu", 3)


def test_a_crew_has_its_engine_and_its_threads(monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    with pytest.raises(CampaignError, match="--engine inline is one process, not 3; give --engine processes"):
        Crew(make_campaign({"engine": "inline", "workers": 3}), None)
    torch.set_num_threads(2)
    crew = Crew(make_campaign({"workers": 2}), None)
    # Cells of cost suites are measured alone, with all threads.
    assert (torch.get_num_threads(), crew.measuring, len(crew.places), crew.shared) == (1, 2, 2, True)
    crew = Crew(make_campaign({"engine": "inline"}), 1)
    assert (crew.measuring, crew.worker, crew.shared) == (1, False, False)
    monkeypatch.setenv("HORIZON_RUN", "x")
    monkeypatch.setenv("HORIZON_WORKER_THREADS", "1")
    torch.set_num_threads(2)
    crew = Crew(make_campaign({"engine": "inline"}), None)
    assert (torch.get_num_threads(), crew.measuring, crew.name, crew.shared) == (1, 2, "x", True)


def test_the_number_of_cores_is_that_of_this_process():
    assert devices.cores() == len(os.sched_getaffinity(0))
