"""Children end with the process that started them, however it ends."""

import subprocess
import sys

import psutil
import pytest

from harness.engines.children import MODULE, child

PARENT = """
import sys, time
from harness.engines.children import MODULE, child
with child([*MODULE, "tests.engines.sleeper"], stdout=sys.stdout):
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_child_leaves_when_its_parent_is_killed(how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, encoding="utf-8")
    try:
        pid = int(parent.stdout.readline())
        sleeper = psutil.Process(pid)
        assert sleeper.is_running()
        getattr(parent, how)()
        parent.wait()
        psutil.wait_procs([sleeper], timeout=60)
        assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.stdout.close()
        parent.wait()


def test_a_child_is_gone_when_its_block_ends_and_gets_its_variables():
    code = "import os, time; print(os.environ['COLOUR'], flush=True); time.sleep(600)"
    with child([sys.executable, "-c", code], stdout=subprocess.PIPE, variables={"COLOUR": "blue"}) as process:
        assert process.stdout.readline() == "blue\n"
        assert process.poll() is None
        process.stdout.close()
    assert process.returncode == -9


def test_a_module_is_run_with_its_arguments(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"a":   [1]}', encoding="utf-8")
    with child([*MODULE, "json.tool", "--compact", str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == '{"a":[1]}\n'
        process.stdout.close()
        assert process.wait() == 0
