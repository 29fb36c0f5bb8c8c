"""The published backbones, by the code path of the real files: tiny ones of the same format, and full size on paper."""

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import save_file

from harness import registry
from harness.backbone.checkpoints import fill, load_checkpoint
from harness.backbone.presets import build
from harness.backbone.published.backbones import BY_NAME, EXAMPLES
from harness.backbone.published.lora import merged, read_adapter
from harness.backbone.wan import WanConfig
from harness.errors import CheckpointError, PresetError
from harness.provenance.environment import environment, weights_hash
from suites.prompts import SETS, built_in
from tests import published
from tests.backbone.checkpoints.test_shards import split

pytestmark = pytest.mark.usefixtures("own_cache")


def made(name, weights, **options):
    return registry.backbone(name, weights=weights, size=published.SIZE, dtype="float32", **options)


@pytest.fixture
def own(weights, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(weights, tmp_path / "own")


def test_self_forcing_is_what_its_checkpoint_holds(weights):
    backbone = made("self-forcing", weights)
    for name, value in published.model().state_dict().items():
        assert torch.equal(backbone.model.state_dict()[name], value)
    assert backbone.latent_size == (4, 6)
    assert not any(x.requires_grad for x in backbone.model.parameters())
    assert backbone.sampler.timesteps == pytest.approx((1000, 937.5, 833.3333, 625))
    assert set(backbone.files) >= {"checkpoints/self_forcing_dmd.pt", "vae/config.json", "tokenizer/tokenizer.json"}


def test_longlive_is_its_base_with_the_adapter_merged(weights):
    backbone = made("longlive", weights)
    base = published.model().state_dict()
    adapter = read_adapter(weights / "models/lora.pt")
    down, up = adapter["blocks.1.ffn.2"]
    expected = base["blocks.1.ffn.2.weight"] + up @ down
    torch.testing.assert_close(backbone.model.state_dict()["blocks.1.ffn.2.weight"], expected, atol=1e-6, rtol=0)
    assert torch.equal(backbone.model.state_dict()["blocks.1.ffn.2.bias"], base["blocks.1.ffn.2.bias"])


@pytest.mark.parametrize("name", ["causal-forcing", "sgf"])
def test_a_checkpoint_that_is_not_pinned_is_checked_by_its_names_and_shapes(own, name):
    """Both have Self-Forcing's names; of one the last weights are read, of the other their moving average."""
    path, container = BY_NAME[name].checkpoint.path, BY_NAME[name].container
    other = {"generator": "generator_ema", "generator_ema": "generator"}[container]
    state = {f"model.{key}": x for key, x in published.model().state_dict().items()}
    (own / path).parent.mkdir(parents=True)

    def save(content):
        # A new file, because models that were read from the old one go on to read it.
        (own / path).unlink(missing_ok=True)
        torch.save(content, own / path)

    save({container: state, other: {key: x + 1 for key, x in state.items()}})
    backbone = made(name, own)
    assert backbone.name == name
    assert all(torch.equal(backbone.model.state_dict()[key.removeprefix("model.")], x) for key, x in state.items())
    assert backbone.files[path] == hashlib.sha256((own / path).read_bytes()).hexdigest()
    assert "container" not in backbone.options
    # A file with the other container alone leaves nothing open.
    save({other: state})
    assert made(name, own).options["container"] == other
    assert weights_hash(made(name, own)) != weights_hash(backbone)
    save({container: {**state, "model.head.head.bias": torch.zeros(3)}})
    with pytest.raises(CheckpointError, match=r"head\.head\.bias"):
        made(name, own)
    del state["model.head.head.bias"]
    save({container: state})
    with pytest.raises(CheckpointError, match=r"missing head\.head\.bias"):
        made(name, own)


def test_causal_forcing_s_long_videos_are_read_in_place_of_its_short_ones(own):
    state = {f"model.{key}": x for key, x in published.model().state_dict().items()}
    torch.save({"generator": state}, own / "longvideo.pt")
    backbone = made("causal-forcing", own)
    assert backbone.files["chunkwise/longvideo.pt"] == hashlib.sha256((own / "longvideo.pt").read_bytes()).hexdigest()
    torch.save({"generator": state}, own / "causal_forcing.pt")
    with pytest.raises(CheckpointError, match=r"causal_forcing\.pt and longvideo\.pt, .* leave one of them there"):
        made("causal-forcing", own)


def test_what_a_model_was_published_with_can_be_opened():
    for each in BY_NAME.values():
        _, strategy = registry.parse_strategy(each.recommended)
        memory = strategy.open(registry.backbone(each.name, device="meta").memory_spec())
        assert memory.capacity == strategy.knobs()["window"] - 3


def test_a_model_that_was_built_on_paper_computes_what_one_built_here_does(weights):
    """Frequencies of positions are no parameters: no checkpoint brings them."""
    from tests.backbone.published.test_lora import rolled

    backbone = made("self-forcing", weights)
    assert torch.equal(rolled(backbone.model), rolled(published.model()))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_full_size_is_built_on_paper_and_takes_its_checkpoint_strictly(name, tmp_path):
    backbone = registry.backbone(name, device="meta")
    shapes = {
        f"model.{key}": torch.empty_like(x, dtype=torch.float32) for key, x in backbone.model.state_dict().items()
    }
    assert len(shapes) == 825
    assert sum(x.numel() for x in shapes.values()) == 1_418_996_800
    container = BY_NAME[name].container
    torch.save({container: shapes}, tmp_path / "model.pt")
    assert load_checkpoint(backbone.model, tmp_path / "model.pt", container) == container
    del shapes["model.head.head.bias"]
    torch.save({container: shapes}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"missing head\.head\.bias"):
        load_checkpoint(backbone.model, tmp_path / "model.pt", container)


def test_the_full_size_adapter_fits_on_paper(tmp_path):
    model = build(WanConfig(), device="meta", dtype="bfloat16")
    with torch.device("meta"):
        adapter = {name: value.to("meta") for name, value in published.lora(model, rank=256).items()}
    torch.save({"generator_lora": adapter}, tmp_path / "lora.pt")
    pairs = read_adapter(tmp_path / "lora.pt")
    assert len(pairs) == 300
    assert sum(down.numel() + up.numel() for down, up in pairs.values()) == pytest.approx(0.27 * 1_418_996_800, rel=0.1)
    fill(model, merged(model.state_dict(), pairs, "lora.pt"), "lora.pt")
    assert model.dtype == torch.bfloat16


def test_a_rollout_decodes_to_pictures(weights):
    from harness.rollout.sample import sample, script_of

    backbone = made("self-forcing", weights)
    pieces = list(sample(backbone, registry.strategy("sliding_window"), script_of(backbone, "a fox", 1.5)))
    assert [piece.pictures.shape for piece in pieces] == [(9, 3, *published.SIZE), (12, 3, *published.SIZE)]
    assert all(bool(piece.pictures.isfinite().all()) for piece in pieces)


def test_what_changes_numbers_changes_the_hash_of_the_weights(weights, own):
    same = weights_hash(made("self-forcing", weights))
    assert weights_hash(made("self-forcing", own, offload=True)) == same
    assert weights_hash(made("self-forcing", own, tiling=True)) != same
    assert weights_hash(registry.backbone("self-forcing", weights=own, dtype="float32", size=(32, 64))) != same
    shutil.rmtree(own / "vae")
    published.vae(own / "vae", base_dim=16)
    published.sums(own)
    assert weights_hash(made("self-forcing", own)) != same


class Malicious:
    """What unpickling would execute."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("file", ["checkpoints/self_forcing_dmd.pt", "models/longlive_base.pt", "models/lora.pt"])
def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(own, tmp_path, file):
    content = {"generator_ema": {"a": Malicious(tmp_path / "ran")}, "generator": Malicious(tmp_path / "ran")}
    (own / file).write_bytes(pickle.dumps(content))
    for protocol in (False, True):
        torch.save(content, own / file, _use_new_zipfile_serialization=protocol)
        published.sums(own)
        with pytest.raises(CheckpointError, match="refused, because reading it would execute code") as told:
            made("self-forcing" if "self" in file else "longlive", own)
        assert str(own / file) in str(told.value)
        assert not (tmp_path / "ran").exists()
    torch.load(own / file, weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [0, 10, 5_000, -1])
def test_a_truncated_checkpoint_is_refused(own, size):
    path = own / "checkpoints/self_forcing_dmd.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="half-downloaded or another file"):
        made("self-forcing", own)
    published.sums(own)
    with pytest.raises(CheckpointError, match=r"self_forcing_dmd\.pt: (damaged or cut short|refused)") as told:
        made("self-forcing", own)
    assert "\n" not in str(told.value)


def test_a_checkpoint_of_another_architecture_is_refused(own):
    (own / "config.json").write_text(json.dumps({**published.CONFIG, "num_layers": 3}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"another architecture: missing blocks\.2"):
        made("self-forcing", own)
    (own / "config.json").write_text(json.dumps({**published.CONFIG, "in_dim": 8, "out_dim": 8}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="another size"):
        made("self-forcing", own)
    (own / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not the sizes of a Wan DiT"):
        made("self-forcing", own)


@pytest.mark.parametrize("eps", ["NaN", "Infinity", "0", "-1", "true", "null", '"1e-6"'])
def test_sizes_with_an_epsilon_that_is_none_are_refused(own, eps):
    told = json.dumps({**published.CONFIG, "eps": 0.5}).replace("0.5", eps)
    (own / "config.json").write_text(told, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"not the sizes of a Wan DiT \(WanConfig.eps must be a number above 0"):
        made("self-forcing", own)


def two_models(own, other):
    """A checkpoint as a trainer writes it: the last weights, and their moving average."""
    averaged = published.model().state_dict()
    last = {name: x + 0.1 for name, x in averaged.items()}
    torch.save({"generator": last, "generator_ema": averaged, "critic": other}, own / "checkpoints/self_forcing_dmd.pt")
    published.sums(own)
    return last, averaged


def test_two_containers_of_one_file_are_two_models(own):
    same = weights_hash(made("self-forcing", own))
    last, averaged = two_models(own, published.model().state_dict())
    usual, other = made("self-forcing", own), made("self-forcing", own, container="generator")
    assert torch.equal(usual.model.head.head.weight, averaged["head.head.weight"])
    assert torch.equal(other.model.head.head.weight, last["head.head.weight"])
    assert ("container" in usual.options, other.options["container"]) == (False, "generator")
    # The usual container is no news: its name changes nothing.
    assert weights_hash(made("self-forcing", own, container="generator_ema")) == weights_hash(usual)
    assert usual.files == other.files
    # Even where the numbers are the same, it is recorded what was asked for.
    critic = made("self-forcing", own, container="critic")
    assert torch.equal(critic.model.head.head.weight, usual.model.head.head.weight)
    assert len({same, weights_hash(usual), weights_hash(other), weights_hash(critic)}) == 4
    assert environment(other)["container"] == "generator"
    assert "container" not in environment(usual)


def test_what_makes_the_weights_of_the_published_files_is_what_it_was(weights):
    """Cells of earlier versions are found again: neither container nor chunk is in what names them."""
    backbone = made("self-forcing", weights)
    assert backbone.options.keys() == {"weights", "size"}
    assert made("longlive", weights).options.keys() == {"weights", "size"}
    assert not environment(backbone).keys() & {"container", "chunk"}


@pytest.mark.parametrize("name", ["generator", "model", "state_dict", None])
def test_the_only_container_of_a_checkpoint_is_taken_and_recorded(own, name):
    state = published.model().state_dict()
    torch.save({name: state} if name else state, own / "checkpoints/self_forcing_dmd.pt")
    published.sums(own)
    backbone = made("self-forcing", own)
    assert torch.equal(backbone.model.head.head.weight, state["head.head.weight"])
    assert backbone.options["container"] == (name or "bare")
    assert weights_hash(made("self-forcing", own, container=name or "bare")) == weights_hash(backbone)


def test_a_wrong_container_is_refused_with_those_that_are_there(own):
    two_models(own, {})
    with pytest.raises(
        CheckpointError, match="no container 'gen'; it has generator, generator_ema: choose with --conta"
    ):
        made("self-forcing", own, container="gen")


def test_a_model_that_is_made_on_paper_knows_the_container_that_was_asked_for(weights):
    paper = registry.backbone("self-forcing", device="meta", weights=weights, container="generator")
    assert paper.options["container"] == "generator"
    assert "container" not in registry.backbone("longlive", device="meta", container="generator").options


def converted(own, name, shards=None):
    """The base or the checkpoint as people convert it: safetensors, with ComfyUI's names."""
    path = own / name
    state = {f"model.diffusion_model.{key}": x for key, x in published.model().state_dict().items()}
    path.unlink()
    if shards:
        return split(path.parent, state, shards, path.stem)
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("shards", [None, 3])
@pytest.mark.parametrize("name", ["self-forcing", "longlive"])
def test_a_checkpoint_in_safetensors_stands_for_the_published_one(weights, own, name, shards):
    path = converted(own, BY_NAME[name].checkpoint.path, shards)
    with pytest.raises(
        CheckpointError, match=r"not in SHA256SUMS, which lists weights of your own; in .* sha256sum ch|mo"
    ):
        made(name, own)
    published.sums(own)
    backbone, usual = made(name, own), made(name, weights)
    for key, value in usual.model.state_dict().items():
        assert torch.equal(backbone.model.state_dict()[key], value)
    assert backbone.options["container"] == "bare"
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in path.parent.glob(f"{path.name[:8]}*")]
    assert set(digests) <= set(backbone.files.values())
    assert len(digests) == (1 if shards is None else 4)
    assert weights_hash(backbone) != weights_hash(usual)


def test_a_checkpoint_in_several_files_is_checked_in_all_of_them(own):
    index = converted(own, "checkpoints/self_forcing_dmd.pt", 3)
    published.sums(own)
    second = index.with_name("self_forcing_dmd-00002-of-00003.safetensors")
    sums = own / "SHA256SUMS"
    listed = sums.read_text(encoding="utf-8")
    sums.write_text("".join(line for line in listed.splitlines(True) if second.name not in line), encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=rf"{second.name}: not in SHA256SUMS.*run: sha256sum checkpoints/{second.name} >>"
    ):
        made("self-forcing", own)
    sums.write_text(listed, encoding="utf-8")
    whole = second.read_bytes()
    second.write_bytes(whole[:-4] + b"abcd")
    with pytest.raises(CheckpointError, match=rf"{second.name}: half-downloaded or another file"):
        made("self-forcing", own)
    second.unlink()
    with pytest.raises(CheckpointError, match=rf"{second.name} is not there; put all 3 files beside it"):
        made("self-forcing", own)


def test_two_files_that_can_be_the_checkpoint_are_refused(own):
    save_file(published.model().state_dict(), own / "self_forcing_dmd.safetensors")
    published.sums(own)
    with pytest.raises(
        CheckpointError, match=r"holds checkpoints/self_forcing_dmd\.pt and self_forcing_dmd\.safetensors, and each can"
    ):
        made("self-forcing", own)


@pytest.mark.parametrize("size", [(480, 830), (0, 16), (32,)])
def test_sizes_that_the_patches_do_not_divide_are_refused(weights, size):
    with pytest.raises(PresetError, match="height and width must be multiples of 16"):
        registry.backbone("self-forcing", weights=weights, size=size)


def test_files_of_one_model_in_two_places_are_refused(own, tmp_path, monkeypatch):
    from harness.backbone.published import backbones as presets
    from harness.backbone.published.artifacts import find

    found = find(presets.SELF_FORCING.files(), own)
    moved = {each.artifact.path: each for each in found}
    from dataclasses import replace

    path = "vae/config.json"
    moved[path] = replace(moved[path], path=tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="the files of vae are spread over"):
        presets._folder(moved, "vae")


def test_examples_to_calibrate_with_are_in_no_suite():
    asked = {scene.text for name in SETS for prompt in built_in(name).prompts for scene in prompt.scenes}
    assert len(set(EXAMPLES)) == len(EXAMPLES)
    assert not asked & set(EXAMPLES)


def test_files_that_nobody_checked_are_refused(own):
    """transformers prefers a single file to shards, and peft an adapter to none."""
    (own / "text_encoder/adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"holds files without a recorded sum: adapter_config\.json"):
        made("self-forcing", own)


def test_sizes_of_one_s_own_are_part_of_what_was_loaded(own):
    before = weights_hash(made("self-forcing", own))
    (own / "config.json").write_text(json.dumps({**published.CONFIG, "eps": 1e-2}), encoding="utf-8")
    assert weights_hash(made("self-forcing", own)) != before
