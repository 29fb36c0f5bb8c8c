from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.kernels import attention
from harness.backbone.kernels.attention import AttentionName, choose, flash, flash_3, flash_4, sdpa
from harness.backbone.presets import Backbone
from harness.backbone.wan import CausalWan
from harness.errors import HorizonError
from harness.verify.bench import CONFIG
from tests.cases import cases

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def explicit(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention in float64, a query at a time."""
    query, keys, values = (x.double() for x in (query, keys, values))
    out = torch.empty(*query.shape[:3], values.shape[-1], dtype=torch.float64)
    for b in range(query.shape[0]):
        for n in range(query.shape[1]):
            for head in range(query.shape[2]):
                scores = (keys[b, :, head] * query[b, n, head]).sum(-1) / query.shape[-1] ** 0.5
                weights = (scores - scores.max()).exp()
                out[b, n, head] = (weights[:, None] * values[b, :, head]).sum(0) / weights.sum()
    return out


def triple(
    seed: int, dtype: torch.dtype, batch: int, queries: int, keys: int, heads: int, channels: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, n, heads, channels) for n in (queries, keys, keys)]
    return [(2 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype) for shape in shapes]


@cases(40)
@given(
    seed=st.integers(0, 999),
    batch=st.integers(1, 2),
    queries=st.integers(1, 5),
    keys=st.integers(1, 9),
    heads=st.integers(1, 3),
    channels=st.sampled_from([2, 8, 20]),
    kind=st.sampled_from([(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]),
)
def test_sdpa_is_softmax_attention(
    seed: int, batch: int, queries: int, keys: int, heads: int, channels: int, kind: tuple[torch.dtype, float]
) -> None:
    """No mask, no causality: every query sees every key, more or fewer of them than queries."""
    dtype, tolerance = kind
    given = triple(seed, dtype, batch, queries, keys, heads, channels)
    ours = sdpa(*given)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), explicit(*given), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["auto", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_kernel_is_recorded(name: AttentionName, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flash(monkeypatch)
    attend, kernel = choose(name, dtype, CPU)
    assert attend is sdpa
    assert kernel in {"sdpa:flash_attention", "sdpa:math"}


def test_the_recorded_kernel_is_the_one_that_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flash(monkeypatch)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert choose("auto", torch.float32, CPU)[1] == "sdpa:math"


def test_shapes_only() -> None:
    assert choose("sdpa", torch.bfloat16, torch.device("meta")) == (sdpa, "sdpa:meta")


@pytest.mark.parametrize("name", ["", "SDPA", "xformers", "flash"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(HorizonError) as caught:
        choose(name, torch.float32, CPU)  # type: ignore[arg-type]
    message = str(caught.value)
    assert repr(name) in message
    assert all(allowed in message for allowed in get_args(AttentionName))


def without_flash(patch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("flash_attn") else find(name))


def with_flash(
    patch: pytest.MonkeyPatch, name: str = "flash_attn", sums: bool = False, origin: str | None = "here"
) -> list[tuple[Tensor, ...]]:
    """A stand-in for a package, which remembers what it was called with. sums: it returns a second tensor."""
    calls: list[tuple[Tensor, ...]] = []
    fake = types.ModuleType(name)
    fake.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=origin)

    def flash_attn_func(*args: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        calls.append(args)
        return (args[0] + 1, args[0]) if sums else args[0] + 1

    fake.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    patch.setitem(sys.modules, name, fake)
    return calls


def test_flash_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flash(monkeypatch)
    with pytest.raises(HorizonError, match=r"not installed \(pip install .*\[gpu\]"):
        choose("flash-attn", torch.bfloat16, CUDA)


@pytest.mark.parametrize(("dtype", "device"), [(torch.bfloat16, CPU), (torch.float32, CUDA), (torch.float64, CPU)])
def test_flash_that_cannot_run_here(dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    with_flash(monkeypatch)
    with pytest.raises(HorizonError) as caught:
        choose("flash-attn", dtype, device)
    message = str(caught.value)
    assert f"not {device.type} and {dtype}" in message
    assert "'auto' or 'sdpa'" in message
    assert "\n" not in message


def test_auto_passes_over_flash_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flash(monkeypatch)
    attend, kernel = choose("auto", torch.bfloat16, CPU)
    assert attend is sdpa
    assert kernel.startswith("sdpa:")


@pytest.mark.parametrize("name", ["auto", "flash-attn"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_flash_is_taken_without_touching_the_device(
    name: AttentionName, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such device here; asking it for anything would also start a CUDA context on a machine with one."""
    with_flash(monkeypatch)

    def touched(*args: object, **options: object) -> None:
        raise AssertionError("the device was touched")

    monkeypatch.setattr(attention, "_sdpa_kernel", touched)
    monkeypatch.setattr(torch, "zeros", touched)
    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)
    assert choose(name, dtype, CUDA) == (flash, "flash-attn")


def test_flash_is_given_the_same_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = with_flash(monkeypatch)
    given = triple(0, torch.float32, 2, 3, 5, 2, 8)
    assert torch.equal(flash(*given), given[0] + 1)
    assert [x is y for x, y in zip(calls[0], given, strict=True)] == [True] * 3


def test_a_backbone_attends_with_what_it_records(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flash(monkeypatch)
    model = CausalWan(CONFIG)
    other = model.with_attention(flash)
    backbone = Backbone(model=other)
    assert backbone.attention_kernel.startswith("sdpa:")
    assert backbone.model.attends_by(sdpa)
    assert other.attends_by(flash)
    assert Backbone(model=model).model is model
    with pytest.raises(HorizonError, match="flash-attn"):
        Backbone(model=model, attention="flash-attn")


LATER = {"flash-attn-3": ("flash_attn_interface", flash_3), "flash-attn-4": ("flash_attn.cute", flash_4)}


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("name", LATER)
def test_later_kernels_give_their_values(name: AttentionName, sums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attend = LATER[name]
    if name == "flash-attn-4":
        with_flash(monkeypatch, origin=None)
    calls = with_flash(monkeypatch, module, sums)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert choose(name, torch.bfloat16, CUDA) == (attend, name)
    given = triple(0, torch.float32, 2, 3, 5, 2, 8)
    assert torch.equal(attend(*given), given[0] + 1)
    assert len(calls) == 1


def test_later_kernels_are_for_their_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    without_flash(monkeypatch)
    with pytest.raises(HorizonError, match="'flash-attn-4' cannot run: it is not installed"):
        choose("flash-attn-4", torch.bfloat16, CUDA)
    monkeypatch.undo()
    with_flash(monkeypatch, "flash_attn_interface")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    with pytest.raises(HorizonError, match=r"compute capability 9.x, and cuda:0 has 8\.9; use 'auto' or 'sdpa'"):
        choose("flash-attn-3", torch.bfloat16, CUDA)


def test_auto_takes_the_kernel_of_the_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("flash_attn", "flash_attn_interface", "flash_attn.cute"):
        with_flash(monkeypatch, module)
    taken = {}
    for capability in ((8, 0), (9, 0), (10, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        taken[capability[0]] = choose("auto", torch.bfloat16, CUDA)[1]
    assert taken == {8: "flash-attn", 9: "flash-attn-3", 10: "flash-attn"}


def test_auto_passes_over_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flash(monkeypatch)

    def broken(name: str) -> None:
        raise ImportError(f"{name} was built for another torch")

    monkeypatch.setattr(importlib, "import_module", broken)
    monkeypatch.setattr(attention, "_sdpa_kernel", lambda dtype, device: "cudnn_attention")
    assert choose("auto", torch.bfloat16, CUDA) == (sdpa, "sdpa:cudnn_attention")


def test_a_folder_that_only_holds_the_fourth_version_is_not_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flash(monkeypatch, origin=None)
    with pytest.raises(HorizonError, match="'flash-attn' cannot run: it is not installed"):
        choose("flash-attn", torch.bfloat16, CUDA)
