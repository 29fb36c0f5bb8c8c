"""Which part of a job a process is."""

import pytest

from harness.errors import CampaignError
from harness.shards import Share, own_device, share

SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2", "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}
ARRAY = {
    "SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "13", "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_COUNT": "4",
}  # fmt: skip
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("shard", "variables", "expected"),
    [
        (None, {}, Share()),
        (None, SRUN, Share(5, 8, 1, "slurm-7-2")),
        (None, {**SRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Share(0, 1, None, "slurm-7-2")),
        (None, ARRAY, Share(3, 4, None, "slurm-8-0")),
        # Each task of the array runs two processes.
        (None, {**ARRAY, **SRUN, "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Share(7, 8, 1, "slurm-8-2")),
        (None, {**ARRAY, "SLURM_ARRAY_TASK_ID": "16", "SLURM_ARRAY_TASK_STEP": "2"}, Share(3, 4, None, "slurm-8-0")),
        (None, TORCHRUN, Share(3, 4, 1, "torchrun-none-n1-29500")),
        ("2/3", {}, Share(1, 3)),
        ("2/3", SRUN, Share(1, 3, 1, "slurm-7-2")),
    ],
)
def test_the_share_of_a_process(shard, variables, expected):
    assert share(shard, variables) == expected


def test_a_share_as_text():
    assert (Share().text, Share(1, 3).text) == ("1/1", "2/3")


@pytest.mark.parametrize(
    ("shard", "variables", "says"),
    [
        ("0/3", {}, "--shard 0/3: write K/N"),
        ("4/3", {}, "--shard 4/3: write K/N"),
        ("x", {}, "--shard x: write K/N"),
        ("1/²", {}, "--shard 1/²: write K/N"),
        (None, {**SRUN, "SLURM_PROCID": "8"}, "SLURM_PROCID=8 is outside its range; SLURM_NTASKS=8 allows 0 to 7"),
        (None, {**TORCHRUN, "RANK": "-1"}, "RANK='-1' is not a number"),
        (None, {**ARRAY, "SLURM_ARRAY_TASK_ID": "14"}, "SLURM_ARRAY_TASK_ID: number 4 of 4 tasks; allowed: 0 to 3"),
    ],
)
def test_what_is_outside_its_range_is_refused(shard, variables, says):
    with pytest.raises(CampaignError, match=says):
        share(shard, variables)


def test_every_process_of_a_machine_has_its_own_device():
    assert [own_device(local, 4, {}) for local in range(4)] == ["0", "1", "2", "3"]
    assert own_device(1, 2, {"CUDA_VISIBLE_DEVICES": "GPU-3,GPU-5"}) == "GPU-5"
    # srun gave each task its own, or nothing says which process this is.
    assert own_device(3, 1, {}) is None
    assert own_device(None, 4, {}) is None
    with pytest.raises(CampaignError, match=r"process 5 of this machine has no device of its own: 4 can be seen here"):
        own_device(4, 4, {})
