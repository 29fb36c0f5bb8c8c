"""The parts of `nox -s device` that need no device, on the CPU and a tiny model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.backbone.published.light import LightCodec, Networks
from tests.device.lane import __main__ as lane
from tests.device.lane.kernels import REST, kind_of, shares
from tests.device.lane.rates import AT_WINDOW, arms, grows, rate, stream
from tests.device.lane.results import BEGINS, ENDS, Results, write_tables
from tests.device.rollouts import backbone

ROOT = Path(__file__).parents[2]
FOUND = {"dit_fps": 45.25, "stream_fps": 40.0, "chunk_p50_ms": 265.4, "chunk_p90_ms": 270.0, "switch_ms": 300.0}


def test_a_rate() -> None:
    found = rate(backbone("cpu", "float32"), "sliding_window", "off", chunks=3)
    assert found["dit_fps"] > 0
    assert 0 < found["chunk_p50_ms"] <= found["chunk_p90_ms"]
    assert found["switch_ms"] > 0
    assert not {"ratio", "planned_fps"} & set(found), "the tiny model is not registered, and a CPU has no allocator"


def test_a_rate_with_a_decoder() -> None:
    stage = backbone("cpu", "float32")
    codec = LightCodec(Networks(8, (16, 8, 8, 8), stage.model.config.in_dim))
    found = stream(stage, "sliding_window", "off", codec, 3)
    assert found["dit_fps"] > found["decoded_after_fps"] > 0
    assert found["stream_fps"] / found["dit_fps"] == pytest.approx(found["share"])
    assert found["decode_ms"] > 0


def test_growth_over_a_rollout() -> None:
    found = grows(backbone("cpu", "float32"), "sliding_window", "off", frames=48)
    assert found["chunks"] == 16
    assert found["time_ratio"] > 0


def test_kernels_of_a_chunk() -> None:
    found = shares(backbone("cpu", "float32"), "sliding_window", "off", early=4, chunks=1)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["shares"]["attention"] > 0
    assert found["shares"]["matrix products"] > 0
    assert 0 <= found["idle"] < 1


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64>>", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NTT", "matrix products"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("triton_poi_fused_add_mul_3", REST),
    ],
)
def test_the_kind_of_a_kernel(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind


def test_every_bounded_strategy_has_its_pieces() -> None:
    names = list(lane.pieces())
    bounded = [name for name in registry.found("strategies") if registry.strategy_class(name).bounded]
    for name in bounded:
        assert {f"rate/{name}/{way}" for way in ("off", "blocks", "graphs")} <= set(names)
    assert len(set(names)) == len(names)
    # A window of 12 that is the default is not measured twice.
    assert "sliding_window.window=12" not in arms()
    assert all(registry.parse_strategy(text) for text in AT_WINDOW)


def test_results_are_kept_and_their_table_is_written(tmp_path: Path) -> None:
    page = tmp_path / "measured.md"
    page.write_text(f"before\n{BEGINS}\nold\n{ENDS}\nafter\n", encoding="utf-8")
    results = Results(tmp_path / "d", "NVIDIA H100 80GB HBM3")
    results.keep("rate/memrope/graphs", FOUND | {"share_of_bound": 0.53, "ratio": 1.012})
    results.keep("stream/light/graphs", {"dit_fps": 45.0, "stream_fps": 40.0})
    results.keep("rate/full/off", {"error": "out of memory"})
    assert results.path.name == "nvidia-h100-80gb-hbm3.json"
    again = Results(tmp_path / "d", "NVIDIA H100 80GB HBM3")
    assert "rate/memrope/graphs" in again
    assert "rate/full/off" not in again, "what failed is run again"
    write_tables(tmp_path / "d", page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGINS}\n\n| NVIDIA H100 80GB HBM3 | passes |")
    assert "| `memrope` | graphs | 45.2 | 40.0 | 265 | 270 | 300 | 0.53 | 1.012 |" in text
    assert "| decoder light | graphs | 45.0 | 40.0 |" in text
    assert text.endswith(f"\n\n{ENDS}\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="has no lines"):
        write_tables(tmp_path / "d", ROOT / "docs/suites.md")


def test_docs_have_the_place_of_the_tables() -> None:
    text = (ROOT / "docs/measured.md").read_text(encoding="utf-8")
    assert text.count(BEGINS) == text.count(ENDS) == 1


def test_a_piece_that_fails_is_told_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError("the device fell off the bus")

    chosen = {"rate/memrope/off": fails, "noise/01": lambda: {"dit_fps": 50.0}, "noise/02": lambda: {"dit_fps": 51.0}}
    monkeypatch.setattr(lane, "pieces", lambda: chosen)
    for name, value in {"is_available": True, "get_device_name": "a device", "empty_cache": None}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(sys, "argv", ["lane", "--out", str(tmp_path)])
    assert lane.main() == 1
    told = capsys.readouterr().out
    assert "rate/memrope/off: error RuntimeError: the device fell off the bus" in told
    assert "noise of 2 launches: 1.40%" in told
    chosen["rate/memrope/off"] = lambda: FOUND
    assert lane.main() == 0
    assert "noise/01:" not in capsys.readouterr().out, "what is there is not run again"


def test_without_a_device_it_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["lane"])
    assert lane.main() == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "horizon: no CUDA device here; nox -s cuda-dry checks its paths without one\n")
