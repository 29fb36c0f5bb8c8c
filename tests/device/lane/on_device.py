"""Plug-in of pytest: models of goldens are on a device, without TF32, and numbers may differ by 1e-4.

`python -m pytest -p tests.device.lane.on_device tests/strategies/test_goldens.py`; HORIZON_DEVICE names another than
cuda.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from harness.doctor.parity import exact_products
from tests import goldens

TOLERANCE = 1e-4
DEVICE = os.environ.get("HORIZON_DEVICE") or "cuda"
_models = {name: getattr(goldens, name) for name in ("model", "scenes_model")}
_close = torch.testing.assert_close


def close(ours: Any, theirs: Any, *, atol: float, **options: Any) -> None:
    """Compare numbers of two devices."""
    _close(ours, theirs, atol=max(atol, TOLERANCE), check_device=False, **options)


@pytest.fixture(autouse=True)
def _on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, make in _models.items():
        monkeypatch.setattr(goldens, name, lambda make=make: make().to(DEVICE))
    monkeypatch.setattr(torch.testing, "assert_close", close)
    with exact_products() if DEVICE.startswith("cuda") else nullcontext():
        yield
