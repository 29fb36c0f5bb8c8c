"""Clocks and readings."""

import os
import subprocess
import sys
import time

import pytest
import torch

from harness.errors import MeasurementError
from harness.measure import meter

CPU = torch.device("cpu")


def test_a_stopwatch_tells_the_time_between_marks():
    clock = meter.Stopwatch(CPU)
    began = time.perf_counter()
    for pause in (0.0, 0.05, 0.0):
        time.sleep(pause)
        clock.mark()
    long, short = clock.seconds()
    assert long >= 0.05
    # Nothing more about the short one: on a busy machine it may be long, too.
    assert short >= 0
    assert long + short < time.perf_counter() - began


def test_pinned_to_as_many_cores_as_threads():
    asked = "import os, torch; from harness import meter; c = meter.pin(1); "
    asked += "assert torch.get_num_threads() == 1; assert sorted(os.sched_getaffinity(0)) == c; print(len(c))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="peaks are read from /proc")
def test_the_peak_begins_anew_where_it_is_forgotten():
    gone = torch.ones(40_000_000)
    whole, size = meter.resident_peak(), gone.nbytes
    assert whole >= size
    del gone
    meter.forget_peak()
    # A system may take other pages of this process back at any time, so only what must be there is compared.
    assert meter.resident_peak() < whole - 0.5 * size
    more = torch.ones(10_000_000)
    peak, now = meter.resident_peak(), meter.resident()
    assert more.nbytes <= peak < whole
    assert peak > now - 0.1 * more.nbytes


def test_a_vigil_tells_how_much_of_the_machine_there_was():
    with meter.Vigil(CPU) as vigil:
        # Of this process's own time: a busy machine gives it less than the clock on the wall.
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
    vigil.check()
    about = vigil.about()
    assert 0 < about["cores_used"] < 1.5
    assert about["made_to_wait"] >= 0


def test_another_process_on_the_device_voids_the_measurement():
    vigil = meter.Vigil(CPU)
    vigil.rows = [{"processes": 1.0}, {"processes": 3.0}]
    with pytest.raises(MeasurementError, match=r"device busy: 2 other process\(es\) on cpu; stop them, then run again"):
        vigil.check()


def test_marks_are_made_on_the_device_that_is_measured_whichever_is_current(monkeypatch):
    asked = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            asked.append(stream)

        def elapsed_time(self, other):
            return 1500.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append(f"all of {device}"))
    clock = meter.Stopwatch(torch.device("cuda", 1))
    clock.mark()
    clock.mark()
    assert clock.seconds() == [1.5]
    assert asked == ["stream of cuda:1", "stream of cuda:1", "all of cuda:1"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; there is none here")
def test_on_a_gpu_clock_and_readings_are_the_devices():
    device = torch.device("cuda")
    clock = meter.Stopwatch(device)
    x = torch.ones(4096, 4096, device=device)
    with meter.Vigil(device) as vigil:
        clock.mark()
        until = time.perf_counter() + 1
        while time.perf_counter() < until:
            x = x @ x
        clock.mark()
        (seconds,) = clock.seconds()
    assert seconds > 0.5
    about = vigil.about()
    assert about["sm_mhz"]["high"] > 0
    assert about["device_peak_bytes"] > x.nbytes
