"""Status and reason of errors, the same for rollouts and for measurements."""

import pytest
import torch

from harness.engines.outcome import outcome_of
from harness.errors import HorizonTooLongError, KnobError, MeasurementError, NotFiniteError


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (NotFiniteError("latents are not finite"), "nan", "latents are not finite"),
        (HorizonTooLongError("too long for this device"), "oom", "too long for this device"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to"), "oom", "CUDA out of memory."),
        (MemoryError(), "oom", "MemoryError"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you"), "oom", "RuntimeError: DefaultCPUAllocator: not"),
        (RuntimeError("odd"), "failed", "RuntimeError: odd"),
        (ValueError("not enough memory"), "failed", "ValueError: not enough memory"),
        (KnobError("window 4 is too small"), "failed", "window 4 is too small"),
        (MeasurementError("device busy"), "failed", "device busy"),
        (ValueError("\nthe second line"), "failed", "ValueError: ValueError"),
        (KeyError("x"), "failed", "KeyError: 'x'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_one_status_and_a_reason_of_one_line(error, status, reason):
    found = outcome_of(error)
    assert found[0] == status
    assert found[1].startswith(reason)
    assert "\n" not in found[1]
