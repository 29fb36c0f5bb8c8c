"""Operators on "meta" that were called alike before: their results are those of torch."""

import pytest
import torch
import torch.nn.functional as F

from harness.measure import shapes
from harness.measure.shapes import Inferred


def empty(*shape, dtype=torch.float32, device="meta"):
    return torch.empty(*shape, dtype=dtype, device=device)


def told(out):
    """What distinguishes the results of a call."""
    every = out if isinstance(out, tuple) else (out,)
    return type(out), [(each.shape, each.stride(), each.dtype, each.device, type(each)) for each in every]


CALLS = {
    "a product": lambda: F.linear(empty(2, 3, 8), empty(5, 8), empty(5)),
    "broadcasting": lambda: empty(2, 1, 8) * empty(3, 1),
    "a sum with a whole number": lambda: empty(4, dtype=torch.int64) + 1,
    "a sum with a fraction": lambda: empty(4, dtype=torch.int64) + 1.0,
    "a sum with a truth value": lambda: empty(4, dtype=torch.int64) + True,
    "a norm": lambda: F.layer_norm(empty(2, 3, 8), (8,)),
    "several results": lambda: torch.native_layer_norm(empty(2, 3, 8), [8], None, None, 1e-6),
    "another norm": lambda: F.rms_norm(empty(2, 3, 8), (8,)),
    "another type": lambda: empty(2, 3).to(torch.bfloat16),
    "a list": lambda: torch.cat([empty(2, 3), empty(4, 3)]),
    "a copy of what is transposed": lambda: empty(2, 3).t().clone(),
    "strides": lambda: empty(2, 3).t() + empty(3, 2),
    "a keyword": lambda: empty(2, 3).sum(dim=1, keepdim=True),
    "another keyword": lambda: empty(2, 3).sum(dim=1, keepdim=False),
    "a view": lambda: empty(2, 3).view(6),
    "a view that its schema does not name": lambda: torch.ops.aten._unsafe_view(empty(2, 3), [6]),
    "numbers that are not on paper": lambda: torch.ones(2) * 3,
    "numbers from nothing": lambda: torch.arange(4, device="meta"),
    "places of values": lambda: empty(3, 2)[torch.tensor([0, 2, 2], device="meta")],
}


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(shapes, "_known", {})


def test_the_second_result_is_the_first_and_that_of_torch():
    true = {name: told(call()) for name, call in CALLS.items()}
    with Inferred():
        # All before any again, so that no result is taken for that of another call.
        found = [{name: told(call()) for name, call in CALLS.items()} for _ in range(3)]
    assert found == [true] * 3
    assert len(shapes._known) > 10


def test_what_has_values_keeps_them_and_what_changes_in_place_does():
    with Inferred():
        for _ in range(2):
            assert (torch.ones(2) * 3).tolist() == [3, 3]
            x = empty(3)
            assert x.add_(1) is x
            assert x[1:].untyped_storage()._cdata == x.untyped_storage()._cdata
            y = empty(2, 3)
            same = torch.ops.aten._unsafe_view(y, [6])
            assert same.untyped_storage()._cdata == y.untyped_storage()._cdata


def test_new_tensors_are_not_shared():
    x = empty(2, 3)
    with Inferred():
        every = [x, x * 2, x * 2, x * 2]
    assert len({each.untyped_storage()._cdata for each in every}) == 4


def test_torch_is_asked_once(monkeypatch):
    x, asked, results = empty(2, 3, 8), [], shapes._results
    monkeypatch.setattr(shapes, "_results", lambda out, given: asked.append(out) or results(out, given))
    with Inferred():
        for _ in range(5):
            F.layer_norm(x, (8,))
    assert len(asked) == 1


def test_no_more_than_the_limit_is_remembered(monkeypatch):
    monkeypatch.setattr(shapes, "LIMIT", 5)
    with Inferred():
        for size in range(1, 20):
            empty(size) * 2
            assert len(shapes._known) <= 5
