"""A rollout on the pretended device in every push, and the planted mistakes that the device must find."""

from __future__ import annotations

import shutil

import pytest
import torch

from harness import registry
from harness.backbone.layout import DenseLayout
from tests.device import rollouts
from tests.device.pretended import WaitError

pytestmark = pytest.mark.skipif(
    torch.version.cuda is None and shutil.which("g++") is None and shutil.which("c++") is None,
    reason="a torch without CUDA needs a C++ compiler to pretend a device",
)


def test_a_rollout() -> None:
    with rollouts.cuda("sliding_window") as host:
        state = rollouts.roll(rollouts.backbone(), registry.strategy("sliding_window"))
    assert state["index"] == rollouts.CHUNKS
    assert not [wait for wait in host.waits if wait.in_pass]
    # The state is on the host, whatever the device.
    assert state["past"].device.type == "cpu"


def test_a_tensor_on_the_cpu_in_recall_is_found() -> None:
    with rollouts.cuda("sliding_window"), pytest.raises(RuntimeError, match="same device"):
        rollouts.roll(rollouts.backbone(), rollouts.mistaken(rollouts.OnTheCpu), chunks=3)


def test_a_number_that_is_read_in_remember_is_found() -> None:
    with rollouts.cuda("sliding_window"), pytest.raises(WaitError, match=r"local_scalar_dense.*tests/device"):
        rollouts.roll(rollouts.backbone(), rollouts.mistaken(rollouts.Reading), chunks=3)


def test_a_copy_to_the_host_in_the_layout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = DenseLayout.ready

    def slow(self, tokens, rotation, weights):  # type: ignore[no-untyped-def]
        return ready(self, tuple(x.cpu().to(x.device) for x in tokens), rotation, weights)

    monkeypatch.setattr(DenseLayout, "ready", slow)
    with rollouts.cuda("sliding_window"), pytest.raises(WaitError, match="a copy to the host"):
        rollouts.roll(rollouts.backbone(), registry.strategy("sliding_window"), chunks=3)
