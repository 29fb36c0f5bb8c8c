from __future__ import annotations

import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.backbone.checkpoints import load_checkpoint, read_checkpoint, read_metadata, save_weights
from harness.backbone.presets import build, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import CheckpointError

SIZES: dict[str, Any] = {
    "dim": 12,
    "ffn_dim": 8,
    "num_heads": 1,
    "num_layers": 2,
    "in_dim": 2,
    "out_dim": 2,
    "text_dim": 4,
    "text_len": 2,
    "freq_dim": 8,
}
CONFIG = WanConfig(**SIZES)
State = dict[str, Tensor]
LORA = {"base_model.model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(4, 12)}

# torch's current format and the older one.
FORMATS: dict[str, Callable[[Any, Path], None]] = {
    "zip": torch.save,
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
}


def small(seed: int) -> CausalWan:
    return scramble(CausalWan(CONFIG), seed).requires_grad_(False)


def copied(model: torch.nn.Module) -> State:
    return {name: x.clone() for name, x in model.state_dict().items()}


def same(ours: State, theirs: State) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(x, theirs[name]) for name, x in ours.items())


@pytest.fixture
def saved() -> State:
    """What the files hold."""
    return copied(small(1))


@pytest.fixture
def model() -> Iterator[CausalWan]:
    """A model with other weights, whose shapes and types no test may change."""
    made = small(0)
    kinds = {name: (x.shape, x.dtype, x.device) for name, x in made.state_dict().items()}
    yield made
    assert kinds == {name: (x.shape, x.dtype, x.device) for name, x in made.state_dict().items()}


def refused(model: torch.nn.Module, path: Path, key: str | None = None) -> str:
    """Return the line with which `path` is refused; assert that the model is unchanged."""
    before = copied(model)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, path, key)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert same(copied(model), before)
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("container", ["generator_ema", "generator", "model", "state_dict", None])
def test_containers(model: CausalWan, saved: State, tmp_path: Path, container: str | None, kind: str) -> None:
    path = tmp_path / "weights.pt"
    FORMATS[kind](saved if container is None else {container: saved, "critic": {"x": torch.zeros(1)}, "step": 3}, path)
    assert load_checkpoint(model, path) == (container or "bare")
    assert same(copied(model), saved)


def test_safetensors(model: CausalWan, saved: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({f"model.{name}": x for name, x in saved.items()}, path)
    assert load_checkpoint(model, str(path)) == "bare"
    assert same(copied(model), saved)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["generator_ema", "generator", "model"], "generator_ema"),
        (["model", "generator"], "generator"),
        (["model", "critic"], "model"),
    ],
)
def test_the_best_container_is_taken(
    model: CausalWan, saved: State, tmp_path: Path, there: list[str], taken: str
) -> None:
    other = copied(small(2))
    torch.save({name: saved if name == taken else other for name in there}, tmp_path / "a.pt")
    assert load_checkpoint(model, tmp_path / "a.pt") == taken
    assert same(copied(model), saved)


def test_the_container_that_is_asked_for(model: CausalWan, saved: State, tmp_path: Path) -> None:
    other = copied(small(2))
    path = tmp_path / "a.pt"
    torch.save({"generator_ema": other, "generator": saved, "student": saved, "step": 3}, path)
    for key in ("generator", "student"):
        model = small(0)
        assert load_checkpoint(model, path, key=key) == key
        assert same(copied(model), saved)
    message = refused(model, path, key="teacher")
    assert message == ("no container 'teacher'; it has generator, generator_ema, student: choose with --container NAME")
    assert "no container 'step'" in refused(model, path, key="step")
    assert "no container 'generator_emma' (did you mean 'generator_ema'?)" in refused(model, path, "generator_emma")


def test_a_container_of_a_file_that_has_none(model: CausalWan, saved: State, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "a.pt")
    message = refused(model, tmp_path / "a.pt", key="generator")
    assert message == "no container 'generator': it holds bare parameters; leave --container out"
    assert load_checkpoint(model, tmp_path / "a.pt", key="bare") == "bare"
    assert same(copied(model), saved)
    torch.save({"generator": saved}, tmp_path / "b.pt")
    assert "no container 'bare'; it has generator" in refused(model, tmp_path / "b.pt", key="bare")


@pytest.mark.parametrize(
    ("there", "usual", "taken"),
    [
        (["generator", "generator_ema", "critic"], "generator_ema", "generator_ema"),
        (["generator", "generator_ema"], "generator", "generator"),
        (["generator", "critic"], "generator_ema", "generator"),
        (["model"], "generator_ema", "model"),
        (["state_dict"], "generator", "state_dict"),
    ],
    ids=str,
)
def test_the_usual_container_or_the_only_one(
    saved: State, tmp_path: Path, there: list[str], usual: str, taken: str
) -> None:
    other = copied(small(2))
    content = {name: saved if name == taken else other for name in there} | {"step": 3, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "a.pt")
    state, found = read_checkpoint(tmp_path / "a.pt", usual=usual)
    assert found == taken
    assert same(state, saved)


@pytest.mark.parametrize("there", [["generator", "model"], ["critic"], ["student", "teacher"]], ids=str)
def test_a_choice_of_containers_is_left_to_the_user(saved: State, tmp_path: Path, there: list[str]) -> None:
    torch.save(dict.fromkeys(there, saved), tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as told:
        read_checkpoint(tmp_path / "a.pt", usual="generator_ema")
    assert str(told.value) == (
        f"{tmp_path / 'a.pt'}: no container 'generator_ema', which is the usual one; it has {', '.join(there)}: "
        "choose with --container NAME"
    )
    assert read_checkpoint(tmp_path / "a.pt", there[0], "generator_ema")[1] == there[0]


PREFIXES = {
    "owner": lambda name: f"model.{name}",
    "other owner": lambda name: f"net.{name}",
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "FSDP inside": lambda name: f"model._fsdp_wrapped_module.{name.replace('blocks.', 'blocks._fsdp_wrapped_module.')}",
    "checkpointed blocks": lambda name: name.replace("self_attn.", "_checkpoint_wrapped_module.self_attn."),
    "compiled owner": lambda name: f"_orig_mod.model.{name}",
    "everything": lambda name: (
        f"_fsdp_wrapped_module._orig_mod.model.{name.replace('self_attn.', '_checkpoint_wrapped_module.self_attn.')}"
    ),
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_wrappers_of_training(model: CausalWan, saved: State, tmp_path: Path, prefix: str) -> None:
    names = {PREFIXES[prefix](name): x for name, x in saved.items()}
    assert names.keys() != saved.keys()
    torch.save({"generator": names}, tmp_path / "a.pt")
    assert load_checkpoint(model, tmp_path / "a.pt") == "generator"
    assert same(copied(model), saved)


def test_an_owner_of_some_parameters_only_is_a_part_of_their_names(tmp_path: Path) -> None:
    """A module may be called `model`; only what every name carries is a wrapper's."""
    inner = torch.nn.Module()
    inner.model, inner.other = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)
    state = copied(inner)
    torch.save(state, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt")[0].keys() == state.keys()
    assert load_checkpoint(inner, tmp_path / "a.pt") == "bare"


def test_names_that_collide(model: CausalWan, saved: State, tmp_path: Path) -> None:
    twice = saved | {"_orig_mod.head.head.bias": torch.zeros(8)}
    torch.save(twice, tmp_path / "a.pt")
    assert "share a name" in refused(model, tmp_path / "a.pt")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_model_keeps_its_type(saved: State, tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    (torch.save if suffix == ".pt" else save_file)({name: x.to(dtype) for name, x in saved.items()}, path)
    model = small(0).to(torch.bfloat16)
    parameters = dict(model.named_parameters())
    load_checkpoint(model, path)
    assert same(copied(model), {name: x.to(dtype).to(torch.bfloat16) for name, x in saved.items()})
    # Optimisers and hooks hold on to parameters, so they must stay the same objects.
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())


@pytest.mark.parametrize("name", ["a.pt", "old.pt", "a.safetensors"])
def test_a_model_without_storage_takes_the_files(saved: State, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.safetensors":
        save_file(saved, path)
    else:
        FORMATS["legacy" if name == "old.pt" else "zip"](saved, path)
    model = build(CONFIG, device="meta", dtype="bfloat16")
    load_checkpoint(model, path)
    assert same(copied(model), {key: x.to(torch.bfloat16) for key, x in saved.items()})
    assert not any(x.is_meta or x.requires_grad for x in model.parameters())


def test_weights_taken_from_a_file_are_not_tied_to_it(saved: State, tmp_path: Path) -> None:
    """A mapped file must not be written to by whoever trains the model."""
    path = tmp_path / "a.pt"
    torch.save(saved, path)
    model = build(CONFIG, device="meta")
    load_checkpoint(model, path)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert same(read_checkpoint(path)[0], saved)


def test_the_published_size_is_loaded_strictly(tmp_path: Path) -> None:
    """825 names and shapes, without a byte of weights on either side."""
    shapes = {name: torch.empty_like(x) for name, x in build(WanConfig(), device="meta").state_dict().items()}
    torch.save({"generator_ema": {f"model.{name}": x for name, x in shapes.items()}}, tmp_path / "a.pt")
    model = build(WanConfig(), device="meta", dtype="bfloat16")
    assert load_checkpoint(model, tmp_path / "a.pt") == "generator_ema"
    assert {x.dtype for x in model.state_dict().values()} == {torch.bfloat16}

    del shapes["blocks.29.ffn.2.bias"]
    torch.save(shapes, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"missing blocks\.29\.ffn\.2\.bias; this model has 825 .* file 824"):
        load_checkpoint(model, tmp_path / "b.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_missing_and_unexpected_names(model: CausalWan, saved: State, tmp_path: Path, suffix: str) -> None:
    path, save = tmp_path / f"a{suffix}", torch.save if suffix == ".pt" else save_file
    del saved["head.head.bias"]
    save(saved, path)
    message = refused(model, path)
    assert "missing head.head.bias" in message
    assert "unexpected" not in message

    saved |= {"head.head.bias": torch.zeros(8), "img_emb.proj.weight": torch.zeros(2)}
    save(saved, path)
    message = refused(model, path)
    assert "unexpected img_emb.proj.weight" in message
    assert "missing" not in message


def test_many_missing_names_are_counted(model: CausalWan, tmp_path: Path) -> None:
    """A model of another depth: a few names, and how many more."""
    torch.save(copied(CausalWan(WanConfig(**SIZES | {"num_layers": 1}))), tmp_path / "a.pt")
    message = refused(model, tmp_path / "a.pt")
    lacking = [name for name in model.state_dict() if name.startswith("blocks.1.")]
    assert f"and {len(lacking) - 4} more" in message
    assert sum(name in message for name in lacking) == 4


def test_another_layout_of_names(model: CausalWan, tmp_path: Path) -> None:
    """The names of a really different network."""
    torch.save({"time_embedder.linear_1.weight": torch.zeros(12, 8)}, tmp_path / "a.pt")
    message = refused(model, tmp_path / "a.pt")
    assert "another architecture: missing" in message
    assert "unexpected time_embedder.linear_1.weight" in message


@pytest.mark.parametrize("on", ["cpu", "meta"])
def test_a_tensor_of_another_size(saved: State, tmp_path: Path, on: str) -> None:
    saved["blocks.1.ffn.0.weight"] = torch.zeros(8, 13)
    torch.save(saved, tmp_path / "a.pt")
    if on == "cpu":
        message = refused(small(0), tmp_path / "a.pt")
    else:
        model = build(CONFIG, device="meta")
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(model, tmp_path / "a.pt")
        message = str(caught.value)
        assert all(x.is_meta for x in model.parameters())
    assert "blocks.1.ffn.0.weight is [8, 13], this model needs [8, 12]" in message


def cuts(length: int) -> list[int]:
    """Where a file is cut short: the first bytes, all over, and just before the end."""
    return sorted({*range(1, 12), *range(12, length, max(1, length // 60)), length - 1})


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_files_that_are_cut_short(model: CausalWan, saved: State, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    (save_file if kind == "safetensors" else torch.save)(saved, path)
    whole = path.read_bytes()
    for cut in cuts(len(whole)):
        path.write_bytes(whole[:cut])
        refused(model, path)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zeroed": lambda raw: b"\0" * len(raw),
    "a web page": lambda raw: b"<!DOCTYPE html><html>404</html>",
    "an LFS pointer": lambda raw: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a lost block": lambda raw: raw[: len(raw) // 2] + raw[len(raw) // 2 + 512 :],
    "a lost head": lambda raw: raw[512:],
    "empty": lambda raw: b"",
}


def test_files_of_the_older_format_that_are_cut_short(model: CausalWan, saved: State, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    FORMATS["legacy"](saved, path)
    whole = path.read_bytes()
    for cut in (*range(1, 4000, 23), *cuts(len(whole))):
        path.write_bytes(whole[:cut])
        refused(model, path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(model: CausalWan, saved: State, tmp_path: Path, kind: str, damage: str) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    FORMATS.get(kind, save_file)(saved, path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    message = refused(model, path)
    assert message.startswith(("damaged", "refused"))


def with_instructions(path: Path, instructions: bytes) -> None:
    """Replace what the archive `path` says about its tensors."""
    twin = path.with_suffix(".new")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(twin, "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, instructions if item.filename.endswith("data.pkl") else old.read(item))
    shutil.move(twin, path)


@pytest.mark.parametrize(
    "instructions",
    [
        b"",
        b"\x80\x02",
        b"garbage",
        b"\x80\x02cos\nsystem\n.",
        pytest.param(b"\x80\x02R.", id="IndexError"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\nK\x01R.", id="TypeError"),
        pytest.param(b"\x80\x02K\x01Q.", id="AssertionError"),
        pytest.param(b"\x80\x02X\xff", id="struct.error"),
    ],
)
def test_damage_inside_of_an_archive(model: CausalWan, saved: State, tmp_path: Path, instructions: bytes) -> None:
    path = tmp_path / "a.pt"
    torch.save(saved, path)
    with_instructions(path, instructions)
    refused(model, path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_any_byte_may_be_wrong(model: CausalWan, saved: State, tmp_path: Path, kind: str) -> None:
    """Changed numbers cannot be detected; every file that cannot be loaded is refused with a CheckpointError."""
    path, generator = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt"), random.Random(0)
    FORMATS.get(kind, save_file)(saved, path)
    whole, outcomes = path.read_bytes(), set()
    for _ in range(100):
        damaged = bytearray(whole)
        # What describes the tensors is at the beginning of these files.
        damaged[generator.randrange(5000)] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
            load_checkpoint(small(0), path)
            outcomes.add("loaded")
        except CheckpointError:
            refused(model, path)
            outcomes.add("refused")
    assert "refused" in outcomes


class Touch:
    """When un-pickled, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("where", ["instead", "beside", "inside"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "pickle called safetensors"])
def test_code_in_a_file_is_not_run(model: CausalWan, saved: State, tmp_path: Path, kind: str, where: str) -> None:
    path = tmp_path / ("a.safetensors" if kind.endswith("safetensors") else "a.pt")
    proof = tmp_path / "proof"
    touch = Touch(proof)
    content = {
        "instead": touch,
        "beside": {"generator": saved, "step": touch},
        "inside": {"generator": saved | {"head.head.bias": touch}},
    }[where]
    FORMATS.get(kind, pickled)(content, path)
    message = refused(model, path)
    assert not proof.exists()
    if path.suffix == ".pt":
        assert "would execute code" in message
    # The trap works: whoever un-pickles it naively does run it.
    pickle.loads(pickle.dumps(touch))
    assert proof.exists()


def test_a_plain_pickle(model: CausalWan, saved: State, tmp_path: Path) -> None:
    """Harmless, but not a format of checkpoints."""
    pickled({name: x.tolist() for name, x in saved.items()}, tmp_path / "a.pt")
    assert refused(model, tmp_path / "a.pt").startswith(("damaged", "refused"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param([torch.zeros(1)], "holds a list", id="a list"),
        pytest.param(torch.zeros(2), "holds a Tensor", id="a tensor"),
        pytest.param({}, "found nothing", id="nothing"),
        pytest.param({"epoch": 3, "args": {"lr": 1e-4}}, "found args, epoch", id="no tensors"),
        pytest.param({"generator": {"epoch": 3}}, "found epoch", id="a container without tensors"),
        pytest.param({"optimizer": {0: torch.zeros(1)}}, "found optimizer", id="an optimiser"),
        pytest.param(LORA, "LoRA adapter", id="a LoRA adapter"),
        pytest.param({"generator": LORA}, "LoRA adapter", id="a LoRA adapter as generator"),
        pytest.param({"generator_lora": LORA}, "generator_lora", id="a LoRA adapter in its own container"),
    ],
)
def test_files_that_are_no_models(model: CausalWan, tmp_path: Path, content: Any, says: str, kind: str) -> None:
    path = tmp_path / "a.pt"
    FORMATS[kind](content, path)
    assert says in refused(model, path)


def test_an_adapter_that_is_asked_for_by_name(model: CausalWan, tmp_path: Path) -> None:
    torch.save({"generator_lora": LORA}, tmp_path / "lora.pt")
    assert "LoRA adapter" in refused(model, tmp_path / "lora.pt", key="generator_lora")


def test_names_that_are_numbers(model: CausalWan, tmp_path: Path) -> None:
    torch.save({0: torch.zeros(1)}, tmp_path / "a.pt")
    refused(model, tmp_path / "a.pt")


def test_a_name_of_two_lines(model: CausalWan, saved: State, tmp_path: Path) -> None:
    torch.save(saved | {"two\nlines": torch.zeros(1)}, tmp_path / "a.pt")
    refused(model, tmp_path / "a.pt")


@pytest.mark.parametrize(
    "stored", [pytest.param(Tensor.to_sparse, id="sparse"), pytest.param(lambda x: x.to("meta"), id="no data")]
)
def test_tensors_that_cannot_be_copied(
    model: CausalWan, saved: State, tmp_path: Path, stored: Callable[[Tensor], Tensor]
) -> None:
    torch.save(saved | {"head.head.weight": stored(saved["head.head.weight"])}, tmp_path / "a.pt")
    assert "head.head.weight" in refused(model, tmp_path / "a.pt")


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(lambda x: x.to(torch.uint8).view(torch.float4_e2m1fn_x2), id="float4"),
        pytest.param(lambda x: x.to(torch.uint8).view(torch.bits8), id="bits"),
        pytest.param(lambda x: x.to(torch.complex64), id="complex"),
        pytest.param(lambda x: x > 0, id="bool"),
        pytest.param(lambda x: x.to(torch.int32), id="integers"),
    ],
)
def test_tensors_that_are_no_real_numbers(
    model: CausalWan, saved: State, tmp_path: Path, stored: Callable[[Tensor], Tensor]
) -> None:
    torch.save(saved | {"head.head.weight": stored(saved["head.head.weight"])}, tmp_path / "a.pt")
    assert "head.head.weight" in refused(model, tmp_path / "a.pt")


def test_there_is_no_such_file(model: CausalWan, tmp_path: Path) -> None:
    for path in (tmp_path / "weights.pt", tmp_path / "weights.safetensors", tmp_path):
        assert "no such file" in refused(model, path)


@pytest.mark.parametrize("name", [b"w\xff.safetensors", b"w\xff.pt"])
def test_a_name_that_is_no_utf8_is_not_taken_for_damage(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.touch()
    with pytest.raises(CheckpointError, match="its name is not UTF-8"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="its name is not UTF-8"):
        read_metadata(path, "train it again")


def test_weights_are_saved_under_a_name_that_is_no_utf8(tmp_path):
    save_weights(torch.nn.Linear(2, 3), tmp_path / os.fsdecode(b"w\xff.safetensors"), torch.float16, {"about": "x"})
    (tmp_path / os.fsdecode(b"w\xff.safetensors")).rename(tmp_path / "w.safetensors")
    assert read_metadata(tmp_path / "w.safetensors", "") == {"about": "x"}
