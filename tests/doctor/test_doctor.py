"""The doctor on pretended machines: what it finds, what it advises, and its exit codes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from harness import cli, registry
from harness.backbone.kernels.attention import PACKAGES
from harness.backbone.published.artifacts import Artifact, Found
from harness.cli.console.terminal import Screen
from harness.doctor import Check, Probes, examine, worst
from harness.doctor.folder import FolderProbes, check_folder
from harness.doctor.kernels import WORKS, Work, check_kernels
from harness.doctor.machine import check_machine, chosen, read_machine
from harness.doctor.media import check_media, find_font, write_video
from harness.doctor.needs import check_needs
from harness.doctor.parity import TOLERANCE, check_parity, difference
from harness.doctor.weights import check_files
from harness.errors import PresetError, UnknownNameError
from tests.doctor.pretended import CPU_ONLY, OLD_DRIVER, WITH_GPU, missing, patient, probes, read_only, works

GPU, CPU = torch.device("cuda"), torch.device("cpu")
Run = Callable[..., tuple[object, str]]


@pytest.fixture(autouse=True)
def few_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strategies are enough to see how all are examined."""
    found = registry.found
    few = {name: found("strategies")[name] for name in ("full", "sliding_window")}
    monkeypatch.setattr(registry, "found", lambda group: few if group == "strategies" else found(group))


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command in this process, on a pretended machine; returns its exit code and what it printed."""

    def run(machine: object, *words: str) -> tuple[object, str]:
        monkeypatch.setattr("harness.doctor.Probes", lambda: machine)
        monkeypatch.setattr(sys, "argv", ["horizon", "doctor", "--out", str(tmp_path / "runs"), *words])
        monkeypatch.setattr("harness.cli.doctor.console", Screen(width=80))
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().out

    return run


def named(checks: Iterable[Check], name: str) -> Check:
    """The one check of this name."""
    (found,) = [check for check in checks if check.name == name]
    return found


def test_all_is_well_on_a_machine_with_a_gpu(doctor: Run) -> None:
    code, out = doctor(probes())
    assert code == 0
    assert "NVIDIA H100 80GB HBM3" in out
    assert "2 of 2 strategies" in " ".join(out.split())
    assert out.splitlines()[-1] == "All is well."
    assert max(map(len, out.splitlines())) <= 80


def test_no_gpu_is_one_line_and_the_rest_is_of_the_cpu(tmp_path: Path) -> None:
    checks = list(examine(patient(tmp_path), probes(CPU_ONLY)))
    assert worst(checks) == "ok"
    assert len([check for check in checks if "no GPU" in check.found]) == 1
    assert not [check for check in checks if check.advice]
    assert named(checks, "sliding_window").found.endswith("60 s of 60.00 GB free")
    assert "nothing to compare" in named(checks, "parity").found


def test_a_gpu_that_is_asked_for_and_not_there_is_exit_code_two(doctor: Run) -> None:
    code, out = doctor(probes(CPU_ONLY), "--device", "cuda")
    assert code == 2
    assert "machine, GPU: ask for --device cpu" in " ".join(out.split())
    # The examination goes on for the CPU.
    assert "strategies" in out
    assert "compile" in out


def test_an_old_driver_is_named_with_what_it_runs(doctor: Run) -> None:
    code, out = doctor(probes(OLD_DRIVER))
    said = " ".join(out.split())
    assert code == 1
    assert "NVIDIA 535.104, runs CUDA 12.2; torch is built for 13.0" in said
    assert "machine, driver: the driver is too old for this torch: install a driver for CUDA 13.0 or later" in said


def test_a_torch_without_cuda_beside_a_gpu() -> None:
    checks = list(check_machine(dataclasses.replace(OLD_DRIVER, cuda=None), None))
    assert named(checks, "driver").state == "ok"
    assert named(checks, "GPU").state == "limited"
    assert "built for CUDA" in named(checks, "GPU").advice


def test_a_device_whose_number_is_too_large() -> None:
    assert named(check_machine(WITH_GPU, "cuda:1"), "GPU").state == "broken"
    assert (chosen(WITH_GPU, "cuda:1"), chosen(WITH_GPU, None), chosen(WITH_GPU, "cpu")) == ("cpu", "cuda", "cpu")


def test_an_old_or_a_busy_device() -> None:
    gpu = WITH_GPU.gpus[0]
    old = dataclasses.replace(WITH_GPU, gpus=(dataclasses.replace(gpu, capability=(7, 5)),))
    busy = dataclasses.replace(WITH_GPU, gpus=(dataclasses.replace(gpu, free=10**9),))
    assert "8.0" in named(check_machine(old, None), "cuda:0").advice
    assert "another program" in named(check_machine(busy, None), "cuda:0").advice


def test_no_h264_encoder(doctor: Run) -> None:
    def write(lossless: bool) -> None:
        if not lossless:
            raise ValueError("Encoder libx264 not found")

    code, out = doctor(probes(write=write))
    assert code == 1
    assert "media, h264: videos to watch cannot be written: pip install --force-reinstall av" in " ".join(out.split())
    assert "lossless videos are written" in " ".join(out.split())


def test_no_font() -> None:
    assert named(check_media(lambda lossless: None, missing), "fonts").state == "limited"


def test_a_read_only_folder(doctor: Run) -> None:
    code, out = doctor(probes(folder=FolderProbes(locks=read_only)))
    assert code == 2
    assert "folder, writable: give --out a folder that this user can write into" in " ".join(out.split())


def test_a_folder_that_is_a_file_has_no_locks_or_has_little_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert named(check_folder(tmp_path / "file" / "runs", FolderProbes()), "writable").state == "broken"
    far = FolderProbes(lambda folder: False, lambda folder: "nfs4", lambda folder: 10**6)
    checks = list(check_folder(tmp_path / "a" / "b", far))
    assert [check.name for check in checks if check.state == "limited"] == ["locks", "room"]
    assert named(checks, "file system").facts["shared"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_weights(doctor: Run, own_cache: Path) -> None:
    code, out = doctor(probes(), "--backbone", "self-forcing", "--seconds", "5")
    said = " ".join(out.split())
    assert code == 2
    assert "weights, files: get them (" in said
    assert "hf download gdhe17/Self-Forcing" in said


def test_missing_weights_of_the_light_decoder(doctor: Run, own_cache: Path) -> None:
    words = ("--backbone", "self-forcing", "--seconds", "5", "--decoder")
    code, out = doctor(probes(), *words, "light")
    assert code == 2
    assert "taew2_1.pth" in out
    assert "vae/" not in out


def test_an_unknown_decoder_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="unknown decoder 'lite'; allowed: wan, light"):
        next(iter(examine(patient(tmp_path, backbone="self-forcing", decoder="lite"), probes(missing))))
    with pytest.raises(PresetError, match="decoder"):
        next(iter(examine(patient(tmp_path, decoder="light"), probes(missing))))


def test_a_file_with_another_hash(tmp_path: Path, own_cache: Path) -> None:
    def checked(name: str, sha256: str | None) -> Check:
        path = tmp_path / name
        path.write_bytes(b"weights")
        found = Found(Artifact("owner/name", None, name, None, sha256), path, sha256 or "")
        return named(check_files("mine", [found], None), name)

    right = hashlib.sha256(b"weights").hexdigest()
    assert (checked("a.pt", right).state, checked("a.pt", right).facts["sha256"]) == ("ok", right)
    assert checked("b.pt", None).found.endswith("not pinned")
    assert checked("c.pt", "0" * 64).state == "broken"


def test_kernels_that_do_not_answer() -> None:
    def states(*without: str, device: torch.device = GPU) -> dict[str, str]:
        tried = {name: missing if name in without else works for name in WORKS}
        return {check.name: check.state for check in check_kernels(device, tried, {}, (9, 0))}

    assert set(states().values()) == {"ok"}
    assert states("flash", "cudnn", "efficient")["attention"] == "limited"
    assert states("flash", "cudnn", "efficient", "math")["attention"] == "broken"
    assert states("bfloat16", "compile", "fp8", "graphs") == {
        "attention": "ok", "bfloat16": "limited", "fp8": "ok", "compile": "limited", "graphs": "limited",
    }  # fmt: skip
    assert "graphs" not in states("graphs", device=CPU)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_installed_package_of_attention_kernels_is_tried_where_it_has_kernels(package: str) -> None:
    def checked(works: Work, device: torch.device, capability: tuple[int, int] | None) -> Check:
        tried = {**dict.fromkeys(WORKS, missing), package: works}
        return named(check_kernels(device, tried, {package: "2.8.3"}, capability), package)

    on = PACKAGES[package].majors or (8, 9, 10)
    for major in on:
        assert checked(works, GPU, (major, 0)).found == "2.8.3, which answers"
    silent = checked(missing, GPU, (on[0], 0))
    assert (silent.state, silent.found) == ("limited", "2.8.3, which does not answer")
    assert silent.advice.startswith(f"reinstall {package} for this torch")
    elsewhere = [checked(missing, CPU, None), *([checked(missing, GPU, (8, 0))] if PACKAGES[package].majors else [])]
    assert {(check.state, check.found) for check in elsewhere} == {("ok", "2.8.3, not for this device")}


def test_packages_that_are_not_installed_are_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.doctor.examination.installed_version", {"flash-attn-4": "4.0.0"}.get)
    assert Probes().packages() == {"flash-attn-4": "4.0.0"}
    tried = dict.fromkeys(WORKS, works)
    assert not {check.name for check in check_kernels(GPU, tried, {}, (9, 0))} & set(PACKAGES)


def test_a_strategy_that_does_not_fit() -> None:
    paper = registry.backbone("pocket", device="meta")
    roomy, tight, small = (named(check_needs(paper, ["sliding_window"], 60, free), "sliding_window")
                           for free in (10**9, 7 * 10**6, 10**6))  # fmt: skip
    assert (roomy.state, tight.state, small.state) == ("ok", "limited", "limited")
    assert "may not fit: horizon plan" in tight.advice
    assert "does not fit" in small.advice
    assert roomy.facts["needed_bytes"] == sum(roomy.facts["bytes"].values())


def test_a_device_that_computes_other_numbers() -> None:
    wrong = {"full": 0.1, "sliding_window": float("nan"), "memrope": TOLERANCE}
    checks = list(check_parity(list(wrong), GPU, lambda name, device: wrong[name]))
    assert [(check.name, check.state) for check in checks] == [
        ("full", "broken"), ("sliding_window", "broken"), ("parity", "ok"),
    ]  # fmt: skip
    assert "1 of 3" in checks[-1].found
    assert named(check_parity(["full"], GPU, missing), "full").found == "RuntimeError: no such thing here"


def test_json_is_one_object(doctor: Run) -> None:
    code, out = doctor(probes(OLD_DRIVER), "--json")
    told = json.loads(out)
    assert (code, told["exit_code"], told["state"]) == (1, 1, "limited")
    (driver,) = [check for check in told["checks"] if check["name"] == "driver"]
    assert driver["facts"] == {"driver": "535.104", "driver_cuda": "12.2", "torch_cuda": "13.0"}


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["horizon", "doctor", "--device", "tpu"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "horizon: device 'tpu' is not known; allowed: cpu, cuda, cuda:1, ...\n"


def test_an_unknown_backbone_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pocket'"):
        next(iter(examine(patient(tmp_path, backbone="pokcet"), probes(missing))))


def test_the_real_probes_answer_here() -> None:
    """All but compilation, which takes seconds."""
    machine = read_machine()
    assert machine.bytes >= machine.free > 0
    real = {name: works if name == "compile" else work for name, work in WORKS.items()}
    assert "math" in named(check_kernels(CPU, real, {}, None), "attention").facts["answer"]
    write_video(lossless=False)
    write_video(lossless=True)
    assert find_font() == "DejaVu Sans"
    assert difference("sliding_window", CPU) == 0
