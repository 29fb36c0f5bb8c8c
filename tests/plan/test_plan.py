"""Plans reproduce what is published, what is allocated, and what a roofline says."""

import dataclasses
import json

import pytest
import torch

from harness import cli, registry
from harness.backbone.presets import wan_1_3b
from harness.cli.plan import GPUS
from harness.errors import HorizonError, ShapeError
from harness.measure.counting import Work
from harness.plan.device import DEVICES, Device, here
from harness.plan.planning import _chunk, plan
from harness.pocket.preset import pocket
from harness.rollout import passes, rollout
from tests.lanes import pushed
from tests.toy import backbone as toy

WAN = wan_1_3b("meta")
SIZE = (60, 104)


@pytest.fixture(scope="module")
def window_12():
    return plan(registry.strategy("sliding_window", window=12), WAN, SIZE, 240)


def test_published_bytes(window_12):
    """Dense: 288 MB a latent frame, 3.45 GB at window 12, 6.04 at 21; VideoMLA a fourteenth a token."""
    assert window_12.cache_bytes_per_token * 1560 == pytest.approx(288e6, rel=0.005)
    assert window_12.laid_out_bytes == pytest.approx(3.45e9, rel=0.002)
    # The current chunk is in the contexts, not in what is held.
    assert window_12.cache_bytes == window_12.laid_out_bytes * 9 // 12
    dense = WAN.memory_spec()
    assert dense.bytes(21 * 1560) == pytest.approx(6.04e9, rel=0.002)
    latent = registry.strategy("videomla").adapt(WAN).memory_spec()
    assert 1 - latent.bytes(1) / dense.bytes(1) == pytest.approx(0.927, abs=5e-4)


def test_published_operations(window_12):
    """139 TFLOP a chunk without the attention to the prompt; every product counted by hand agrees to the digit."""
    config, tokens, context = WAN.model.config, 4680, 18720
    width, layers = config.dim, config.num_layers
    linear = 2 * tokens * (6 * width**2 + 2 * width * config.ffn_dim)
    own, prompt = 4 * tokens * context * width, 4 * tokens * config.text_len * width
    patches = 2 * tokens * 64 * width
    head = patches
    a_pass = layers * (linear + own + prompt) + patches + head
    # Of a commit pass nothing but the last layer's query, key and value is used.
    last = own + prompt + 2 * tokens * (3 * width**2 + 2 * width * config.ffn_dim) + head
    assert window_12.flops_per_chunk == 5 * a_pass - last
    assert 5 * (a_pass - layers * prompt) - last == pytest.approx(139e12, rel=0.01)


@pytest.mark.nightly
def test_a_growing_memory_is_planned_from_two_lengths():
    full, at = registry.strategy("full"), toy(model=toy().model.to("meta"))
    planned = plan(full, at, at.latent_size, 60)
    work, activations = _chunk(full, at, at.latent_size, 60)
    assert list(planned.work) == work
    assert planned.activation_bytes == pytest.approx(activations, rel=0.02)
    assert planned.cache_bytes == full.footprint(at.memory_spec(), 57)


@pytest.mark.nightly
def test_the_work_of_a_memory_whose_size_repeats_is_that_of_its_mean_chunk():
    """Chunks attend to 16 and 19 frames in turn, and only some of them choose tokens."""
    at = toy(model=toy().model.to("meta"))

    def attended(strategy):
        work = plan(strategy, at, at.latent_size, 60).work
        return sum(each.flops for each in work if each.name == "attention")

    swings, *windows = (
        attended(registry.parse_strategy(text)[1])
        for text in ("deep_forcing", "sliding_window.window=16", "sliding_window.window=19")
    )
    assert swings == pytest.approx(sum(windows) / 2, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    pushed(
        sorted(registry.found("strategies")),
        *("full", "forcing_kv", "videomla"),
    ),
)
def test_planned_contexts_are_the_allocated_ones(name, monkeypatch):
    """And what is held is checked by `verify`, to the byte."""
    allocated = []

    def room(*arguments):
        made = true_room(*arguments)
        allocated.append(sum(x.nbytes for x in made))
        return made

    true_room = passes.room
    monkeypatch.setattr(passes, "room", room)
    strategy, at = registry.strategy(name), pocket()
    planned = plan(strategy, pocket("meta"), at.latent_size, 36)
    strategy.adapt(at)  # which may run passes of its own, to make parameters that were not trained
    allocated.clear()
    arguments = {"prompts": at.text(["a thing"]), "latent_frames": 36, "latent_size": at.latent_size, "noise": None}
    rollout(at, strategy, **arguments)
    assert sum(allocated) == planned.laid_out_bytes


def test_a_roofline_by_hand():
    base = plan(registry.strategy("sliding_window"), toy(model=toy().model.to("meta")), (4, 4), 60)
    work = [Work("mm", 100, 10), Work("attention", 10, 100)]
    both = dataclasses.replace(base, work=work)
    bound = both.bound(Device("slow to move", flops=10.0, bandwidth=5.0, memory=1.0))
    assert (bound.chunk_seconds, bound.binding, bound.share) == (30.0, "bandwidth", pytest.approx(2 / 3))
    bound = both.bound(Device("slow to count", flops=1.0, bandwidth=50.0, memory=1.0))
    assert (bound.chunk_seconds, bound.binding) == (110.0, "compute")
    assert both.frames_per_second(24.0) == 0.5


def test_this_machine_is_measured():
    device = here(torch.float32, seconds=0.05)
    assert 1e8 < device.flops < 1e15
    assert 1e8 < device.bandwidth < 1e14
    assert device.memory > 1e8


def test_what_cannot_be_planned_is_said():
    with pytest.raises(HorizonError, match="shapes only; give a backbone on the device meta"):
        plan(registry.strategy("full"), toy(), (4, 4), 30)
    with pytest.raises(ShapeError, match="a plan for 10 latent frames; needed: whole chunks of 3, two at least"):
        plan(registry.strategy("full"), toy(model=toy().model.to("meta")), (4, 4), 10)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*argv):
        monkeypatch.setattr("sys.argv", ["horizon", "plan", "--backbone", "pocket", *argv])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_json_of_the_command(run):
    code, out, _ = run(
        "--strategy", "memrope.window=14", "--strategy", "full", "--gpu", "4090", "--gpu", "h200", "--json"
    )
    told = json.loads(out)
    memrope, full = told["strategies"]
    assert code == 0
    assert (memrope["name"], memrope["knobs"]["window"], memrope["latent_frames"]) == ("memrope", 14, 240)
    assert full["latent_frames"] == 36  # what it was trained for
    for one in told["strategies"]:
        assert one["cache_bytes"] > 0
        assert one["cache_bytes_per_token"] == 4 * 2 * 128 * 2
        assert one["fps_bound"] == pytest.approx(3 / one["chunk_seconds_bound"])
        assert list(one["gpus"]) == ["4090", "H200"]
        assert one["gpus"]["H200"]["chunk_seconds_bound"] < one["chunk_seconds_bound"]
        assert one["flops_per_chunk"] > 0


def test_tables_and_picture_of_the_command(run, tmp_path):
    picture = tmp_path / "plan.png"
    code, out, _ = run(
        "--strategy", "videomla", "--size", "32x32", "--gpu", "H100", "--gpu", "A100", "--out", str(picture)
    )
    assert code == 0
    assert "pocket, 32x32" in out
    assert out.count("videomla") == 4
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ("--gpu", "h10"),
            "--gpu h10: unknown (did you mean 'H100'?); allowed: H100, H200, B200, A100, A6000, 4090, here",
        ),
        (("--size", "33x32"), "--size 33x32: needed: HEIGHTxWIDTH in pixels, e.g. 32x32, multiples of 8 and 8"),
        (("--out", "plan.pdf"), "--out plan.pdf: the picture is a PNG file"),
        (("--strategy", "memrop"), "did you mean 'memrope'"),
        (("--dtype", "int8"), "unknown dtype 'int8'"),
    ],
)
def test_mistakes_are_one_line(run, argv, says):
    code, _, error = run(*argv)
    assert code == 2
    assert says in error
    assert error.count("\n") == 1


def test_help_lists_the_gpus_without_loading_anything():
    assert tuple(DEVICES) == GPUS
