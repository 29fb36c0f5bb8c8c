"""Leases: one holder at a time, also without locks, whatever becomes of processes, machines and clocks."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from harness.locks import identity, leases
from harness.locks.leases import acquire, holders, read, release


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that the test moves on."""
    now = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def elsewhere(monkeypatch):
    """Calls a function as another machine would: with other names of the running system."""

    def call(act, *arguments):
        with monkeypatch.context() as there:
            there.setattr(identity, "_machine", lambda: ("other", "other"))
            return act(*arguments)

    return call


def waited(clock, act, seconds, step=1.0):
    """Call `act` every so often for this long, and return its last answer."""
    found = None
    for _ in range(int(seconds / step)):
        clock[0] += step
        found = found or act()
    return found


def test_a_lease_has_one_holder_and_leaves_nothing(tmp_path):
    lease = acquire(tmp_path, "a", {"cell": "a"})
    assert acquire(tmp_path, "a", {}) is None
    assert acquire(tmp_path, "b", {}) is not None
    lease.tell(done=3)
    lease.beat()
    assert holders(tmp_path)["a"][0].items() >= {"cell": "a", "done": 3, "pid": os.getpid()}.items()
    release(lease)
    assert [path.name for path in tmp_path.iterdir()] == ["b.1"]
    again = acquire(tmp_path, "a", {})
    assert again.check()


def test_of_many_threads_one_holds_it(tmp_path):
    held, most, ended = [], [], []

    def work():
        for _ in range(50):
            lease = acquire(tmp_path, "a", {})
            if lease is not None:
                held.append(lease)
                most.append(len(held))
                assert lease.check()
                held.remove(lease)
                release(lease)
        ended.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (set(most), len(ended)) == ({1}, 4)


def hold(folder, ready):
    acquire(folder, "a", {})
    ready.set()
    time.sleep(600)


def test_what_a_killed_process_of_this_machine_held_is_free_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    assert acquire(tmp_path, "a", {}) is None
    os.kill(process.pid, signal.SIGSTOP)
    # One that is only stopped keeps it, however long that takes.
    assert acquire(tmp_path, "a", {}) is None
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    lease = None
    while lease is None and time.monotonic() < deadline:
        # Nobody has waited for it yet: it is there, as a process that has ended.
        lease = acquire(tmp_path, "a", {})
    assert lease.path.name == "a.2"
    process.join()
    release(lease)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_takes_over_once_the_holder_is_silent(tmp_path, clock, elsewhere):
    lease = acquire(tmp_path, "a", {})

    def other():
        return elsewhere(acquire, tmp_path, "a", {})

    # Signs of life, however seldom, keep it.
    for _ in range(3):
        assert waited(clock, other, leases.LEASE - 5) is None
        lease.beat()
    assert waited(clock, other, leases.LEASE - 5) is None
    taken = waited(clock, other, 10)
    assert taken.path.name == "a.2"
    assert not lease.check()
    release(lease)
    # Its successor holds it still.
    assert elsewhere(taken.check)
    assert acquire(tmp_path, "a", {}) is None


def test_no_clock_that_jumps_loses_a_lease(tmp_path, clock, elsewhere, monkeypatch):
    lease = acquire(tmp_path, "a", {})

    def other():
        return elsewhere(acquire, tmp_path, "a", {})

    for jump in (3600, -3600):
        monkeypatch.setattr(leases.time, "time", lambda jump=jump: 1e9 + jump)
        os.utime(lease.path, (1e9 + jump, 1e9 + jump))
        assert waited(clock, other, leases.LEASE - 5) is None
    # A process that was stopped for an hour has seen nothing meanwhile, so it knows nothing.
    lease.beat()
    assert other() is None
    clock[0] += 3600
    assert other() is None
    assert waited(clock, other, leases.LEASE - leases.BEAT - 5) is None
    assert lease.check()


def test_a_holder_that_died_while_it_wrote_is_taken_over(tmp_path, clock):
    (tmp_path / "a.1").touch()
    assert acquire(tmp_path, "a", {}) is None
    assert waited(clock, lambda: acquire(tmp_path, "a", {}), leases.LEASE + 5) is not None


def test_what_was_judged_before_it_was_released_and_taken_again_is_not_taken(tmp_path, monkeypatch, elsewhere):
    """A process that stands still between its look and its attempt gets nothing."""
    old = elsewhere(acquire, tmp_path, "a", {})

    def meanwhile(path, locked):
        elsewhere(release, old)
        assert elsewhere(leases._create, tmp_path / "a.1", "{}\n")
        return True

    monkeypatch.setattr(leases, "_ended", meanwhile)
    old.path = old.path.rename(tmp_path / "a.4")
    assert acquire(tmp_path, "a", {}) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.1"]


def test_long_files_are_read_in_part(tmp_path):
    lease = acquire(tmp_path, "a", {"cell": "a"})
    for number in range(2000):
        lease.tell(done=number)
    assert read(lease.path).items() >= {"cell": "a", "done": 1999}.items()


def test_a_beating_thread_changes_the_file_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.01)
    monkeypatch.setattr(leases, "_beating", [])
    monkeypatch.setattr(leases, "_leases", {})
    lease = acquire(tmp_path, "a", {})
    before = lease.path.stat().st_size
    deadline = time.monotonic() + 30
    while lease.path.stat().st_size == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.path.stat().st_size > before
    release(lease)
    while leases._beating and time.monotonic() < deadline:
        time.sleep(0.01)
    assert leases._beating == []
