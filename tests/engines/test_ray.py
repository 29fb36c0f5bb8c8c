"""The engine of Ray: what needs no Ray here, and a cluster of three nodes where Ray is installed (`nox -s engines`)."""

import importlib.util
import os
import random
import socket
import subprocess
import sys
import time

import psutil
import pytest

from harness.engines.ray.cluster import connected, size
from harness.errors import CampaignError
from tests.engines.tiny import install, records

RUN = ("--suite", "tiny", "--strategy", "memrope", "--equal-budget", "0", "--threads", "1", "--save-every", "0")
KILLS = int(os.environ.get("HORIZON_KILLS", "6"))
"""Kills of workers, nodes and drivers in the nightly test; HORIZON_KILLS asks for more."""
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs Ray, as in the environment of `nox -s engines`")


def test_without_ray_the_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(CampaignError, match=r"--engine ray needs Ray, .*: pip install 'horizon-bench\[ray\]'"),
        connected(None),
    ):
        pass


def test_ray_is_imported_only_if_asked_for():
    code = "import sys, harness.cli, harness.cli.runs.engines, harness.engines.ray.driver; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:many"])
def test_an_address_that_nobody_answers(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", object())
    began = time.monotonic()
    with pytest.raises(CampaignError, match="nobody answers there within 10 s"), connected(address):
        pass
    assert time.monotonic() - began < 11


def test_the_number_of_workers_is_that_of_the_devices():
    assert size({"GPU": 4.0, "CPU": 64.0}, "cuda", "auto", 1) == 4
    assert size({"CPU": 8.0}, "cpu", "auto", 3) == 2
    assert size({"CPU": 8.0}, "cpu", 5, 1) == 5
    with pytest.raises(CampaignError, match=r"--workers 5: this cluster of Ray has GPUs for 4 workers"):
        size({"GPU": 4.0}, "cuda", 5, 1)
    with pytest.raises(CampaignError, match=r"^this cluster of Ray has GPUs for 0 workers"):
        size({"CPU": 8.0}, "cuda", "auto", 1)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    return install(tmp_path_factory.mktemp("tiny"), rows=4)


@pytest.fixture(scope="module")
def inline(tmp_path_factory, variables):
    folder = tmp_path_factory.mktemp("inline")
    said = horizon(folder, variables, "--engine", "inline")
    assert "c: 4 ok" in said
    return records(folder / "c")


@pytest.fixture(scope="module")
def cluster(variables):
    """Three nodes of one core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", variables["PYTHONPATH"])
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        made.shutdown()


def start(folder, variables, *options):
    command = [sys.executable, "-m", "harness.cli", "run", *RUN, "--out", "c", *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    return subprocess.Popen(command, cwd=folder, env=variables, **streams)


def horizon(folder, variables, *options, code=0):
    process = start(folder, variables, *options)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


@needs_ray
def test_a_cluster_makes_the_same_records(inline, cluster, variables, tmp_path):
    said = horizon(tmp_path, variables, "--engine", "ray", "--address", cluster.address)
    assert said.splitlines()[-1] == "c: 4 ok"
    assert records(tmp_path / "c") == inline
    assert not list((tmp_path / "c" / "flight").glob("*.ray"))
    assert "c: 4 ok" in horizon(tmp_path, variables, "--engine", "ray", "--address", cluster.address)


@needs_ray
def test_results_come_by_the_object_store_where_no_folder_is_shared(inline, cluster, variables, tmp_path):
    blind = tmp_path / "blind"
    blind.mkdir()
    # What the workers must read there is not what the driver has written, as if it were another folder.
    (blind / "sitecustomize.py").write_text(BLIND, encoding="utf-8")
    path = f"{blind}{os.pathsep}{variables['PYTHONPATH']}"
    horizon(tmp_path, variables | {"PYTHONPATH": path}, "--engine", "ray", "--address", cluster.address)
    assert records(tmp_path / "c") == inline
    assert not list((tmp_path / "c" / "flight").glob("*.came"))


BLIND = """
import importlib.abc, importlib.machinery, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "harness.engines.ray.actor":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            module.Worker._sees_folder = lambda self: False
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def workers_of(cluster):
    """The processes of actors, on all nodes of this machine."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if words.startswith("ray::Worker"):
            found.append(process)
    return found


@needs_ray
@pytest.mark.nightly
def test_kills_of_workers_nodes_and_drivers_lose_nothing(inline, cluster, variables, tmp_path):
    rng, kinds = random.Random(0), []
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        process = start(tmp_path, variables, "--engine", "ray", "--address", cluster.address)
        while process.poll() is None:
            try:
                process.wait(rng.uniform(2.0, 12.0))
            except subprocess.TimeoutExpired:
                kind = rng.choice(("worker", "node", "driver"))
                victims = workers_of(cluster)
                if kind == "worker" and victims:
                    rng.choice(victims).kill()
                elif kind == "node":
                    cluster.remove_node(rng.choice(sorted(cluster.worker_nodes, key=str)))
                    cluster.add_node(num_cpus=1)
                elif kind == "driver":
                    process.kill()
                    process.wait()
                kinds.append(kind)
                if len(kinds) >= KILLS:
                    break
        done = records(tmp_path / "c")
        assert all(done[cell] == inline[cell] for cell in done)
        if len(kinds) >= KILLS:
            process.communicate(timeout=300)
            break
    horizon(tmp_path, variables, "--engine", "ray", "--address", cluster.address)
    assert records(tmp_path / "c") == inline


@needs_ray
def test_an_address_without_a_cluster_is_one_line(variables, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = horizon(tmp_path, variables, "--engine", "ray", "--address", f"127.0.0.1:{port}", code=2)
    assert f"--address 127.0.0.1:{port}: nobody answers there" in said.splitlines()[-1]
