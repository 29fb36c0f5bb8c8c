"""Checkpoints in several safetensors files with an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.backbone.checkpoints import load_checkpoint
from tests.backbone.checkpoints.test_load import State, copied, refused, same, small


def split(folder: Path, state: State, count: int = 3, stem: str = "model") -> Path:
    """Write parameters into so many files, and their index, as the Hugging Face libraries do."""
    files: dict[str, str] = {}
    for number in range(count):
        part = dict(list(state.items())[number::count])
        name = f"{stem}-{number + 1:05}-of-{count:05}.safetensors"
        save_file(part, folder / name)
        files |= dict.fromkeys(part, name)
    index = folder / f"{stem}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}), encoding="utf-8")
    return index


@pytest.mark.parametrize("prefix", ["", "model.", "model.diffusion_model."])
def test_a_model_in_several_files(tmp_path: Path, prefix: str) -> None:
    saved, model = copied(small(1)), small(0)
    index = split(tmp_path, {f"{prefix}{name}": x for name, x in saved.items()})
    assert load_checkpoint(model, index) == "bare"
    assert same(copied(model), saved)


def test_a_parameter_that_the_index_or_its_file_lacks(tmp_path: Path) -> None:
    saved = copied(small(1))
    index = split(tmp_path, saved)
    about = json.loads(index.read_text(encoding="utf-8"))
    first = about["weight_map"].pop("head.head.bias")
    index.write_text(json.dumps(about), encoding="utf-8")
    assert f"not the index of {first}, which also holds head.head.bias" in refused(small(0), index)
    about["weight_map"] |= {"head.head.bias": first, "more": first}
    index.write_text(json.dumps(about), encoding="utf-8")
    assert f"not the index of {first}, which lacks more; fetch index and files again" in refused(small(0), index)
    del saved["head.head.bias"]
    index = split(tmp_path, saved)
    assert "missing head.head.bias; this model has 69 parameters, the file 68" in refused(small(0), index)


def test_a_file_that_is_missing_or_cut_is_named_itself(tmp_path: Path) -> None:
    index = split(tmp_path, copied(small(1)))
    second = tmp_path / "model-00002-of-00003.safetensors"
    second.write_bytes(second.read_bytes()[:-9])
    with pytest.raises(Exception, match=r"model-00002-of-00003\.safetensors: damaged or cut short"):
        load_checkpoint(small(0), index)
    second.unlink()
    with pytest.raises(Exception, match=r"model-00002-of-00003\.safetensors: no such file"):
        load_checkpoint(small(0), index)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("{", "not an index of safetensors"),
        ([], "no weight_map"),
        ({"weight_map": {}}, "no weight_map"),
        ({"weight_map": {"a": 1}}, "no weight_map"),
        ({"weight_map": {"a": "../a.safetensors"}}, "an index names .safetensors files beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names '/etc/passwd'"),
        ({"weight_map": {"a": "a.pt"}}, "names 'a.pt'"),
        ({"weight_map": {"a": "\0.safetensors"}}, "an index names"),
    ],
    ids=str,
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, told: Any, says: str) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    index = tmp_path / "a.safetensors.index.json"
    index.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    assert says in refused(small(0), index)
