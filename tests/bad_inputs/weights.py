"""Checkpoints, adapters, and folders of weights."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from harness.backbone.checkpoints import load_checkpoint, read_checkpoint, read_metadata
from harness.backbone.presets import build, scramble
from harness.backbone.published.lora import read_adapter
from harness.backbone.wan import CausalWan, WanConfig
from tests import published
from tests.bad_inputs.checker import Bad
from tests.bad_inputs.made import file, pipe

FILE = "w.pt"


class _Runs:
    """Runs code when it is read."""

    def __reduce__(self):
        return (os.system, ("touch ran",))


def _saved(content: Any) -> bytes:
    data = io.BytesIO()
    torch.save(content, data)
    return data.getvalue()


def _state(**changes: Any) -> dict[str, Any]:
    """The parameters of a tiny model, some of them other ones; None: is not there."""
    state = {**scramble(CausalWan(WanConfig(**published.CONFIG)), seed=3).state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


def checkpoint(name: str, content: Callable[[], Any] | bytes, words: str, **options: str) -> Bad:
    """A checkpoint for a tiny model; what a function makes is saved. options: how it is read."""

    def setup(folder: Path) -> None:
        file(FILE, content if isinstance(content, bytes) else _saved(content()))(folder)

    def load() -> None:
        if options:
            read_checkpoint(FILE, **options)
        load_checkpoint(build(WanConfig(**published.CONFIG), device="meta"), FILE)

    return Bad(f"a checkpoint {name}", ("load",), f"w.pt: .*{words}", setup, load)


def adapter(name: str, content: Callable[[], Any], words: str) -> Bad:
    """A LoRA file."""
    return Bad(f"an adapter {name}", ("load",), f"w.pt: .*{words}", file(FILE, _saved(content())),
               partial(read_adapter, FILE))  # fmt: skip


def sizes(name: str, about: object, words: str) -> Bad:
    """A folder of weights that says its own sizes."""
    text = about if isinstance(about, str) else json.dumps(about)
    return Bad(f"sizes {name}", ("describe", "self-forcing", "--weights", "w"), f"config.json: not the sizes.*{words}",
               file("w/config.json", text))  # fmt: skip


def _two_checkpoints(folder: Path) -> None:
    for suffix in ("pt", "safetensors"):
        file(f"w/self_forcing_dmd.{suffix}", "x")(folder)


def _cut_tensors(folder: Path) -> None:
    save_file({"a": torch.ones(100)}, folder / "w.safetensors")
    os.truncate(folder / "w.safetensors", 200)


WHOLE = _saved({"generator_ema": {"a": torch.ones(1000)}})
NAME = "blocks.0.self_attn.q.weight"
TWO_RANKS = (("A", (4, 8)), ("B", (8, 3)))
PAIR = "base_model.model.blocks.0.q"

ROWS = [
    Bad("a checkpoint that is not there", ("load",), "w.pt: no such file", call=partial(read_checkpoint, FILE)),
    Bad("a checkpoint that is a pipe", ("load",), "w.pt: no such file", pipe(FILE), partial(read_checkpoint, FILE)),
    Bad("a checkpoint with a NUL", ("load",), "no such file", call=partial(read_checkpoint, "a\0.pt")),
    checkpoint("of nothing", b"", "damaged or cut short"),
    checkpoint("of text", b"not weights\n", "refused|damaged"),
    checkpoint("that is cut", WHOLE[: len(WHOLE) // 2], "damaged or cut short"),
    checkpoint("that runs code", lambda: {"model": _Runs()}, "refused, because reading it would execute code"),
    checkpoint("that is a list", lambda: [torch.ones(2)], "holds a list, not parameters by name"),
    checkpoint("of words", lambda: {"model": {"a": "b"}}, "not a checkpoint of a model"),
    checkpoint("of numbers as names", lambda: {1: torch.ones(2)}, "not a checkpoint of a model"),
    checkpoint("of another architecture", lambda: {"a": torch.ones(2)}, "another architecture: missing"),
    checkpoint("that lacks a layer", lambda: _state(**{NAME: None}), f"another architecture: missing {NAME}"),
    checkpoint("of another size", lambda: _state(**{NAME: torch.ones(3, 3)}), f"another size: {NAME}"),
    checkpoint("of whole numbers", lambda: _state(**{NAME: torch.ones(48, 48).long()}), "is stored as torch.int64"),
    checkpoint("of shapes", lambda: _state(**{NAME: torch.empty(48, 48).to_sparse()}), "is stored as torch.sparse"),
    checkpoint("that is an adapter", lambda: {f"{PAIR}.lora_A.weight": torch.ones(4, 8)}, "a LoRA adapter"),
    Bad("safetensors that are cut", ("load",), "w.safetensors: damaged or cut short", _cut_tensors,
        partial(read_checkpoint, "w.safetensors")),
    Bad("metadata that are cut", ("load",), "w.safetensors: damaged or cut short.*fetch", _cut_tensors,
        lambda: read_metadata(Path("w.safetensors"), "fetch it again")),
    adapter("of plain weights", lambda: {"a": torch.ones(2, 2)}, "not a LoRA adapter: a is not a matrix"),
    adapter("of one half", lambda: {f"{PAIR}.lora_A.weight": torch.ones(4, 8)}, "no fitting pair of matrices"),
    adapter("of two ranks", lambda: {f"{PAIR}.lora_{half}.weight": torch.ones(*shape) for half, shape in TWO_RANKS},
            "no fitting pair of matrices"),
    checkpoint("of two models", lambda: {"generator": _state(), "model": _state()},
               "no container 'generator_ema', which is the usual one; it has generator, model: choose with --container",
               usual="generator_ema"),
    checkpoint("without that container", lambda: {"generator": _state()},
               "no container 'ema'; it has generator: choose with --container", key="ema"),
    checkpoint("of 8 bits", lambda: _state(**{NAME: torch.ones(48, 48).to(torch.float8_e4m3fn)}),
               f"quantised weights: {NAME} is stored as torch.float8_e4m3fn; .* take the file that these were"),
    Bad("an index of nothing", ("load",), "w.safetensors.index.json: not an index.*no weight_map",
        file("w.safetensors.index.json", "{}"), partial(read_checkpoint, "w.safetensors.index.json")),
    Bad("an index of another folder", ("load",), "names '../w.safetensors'; an index names .safetensors files",
        file("w.safetensors.index.json", '{"weight_map": {"a": "../w.safetensors"}}'),
        partial(read_checkpoint, "w.safetensors.index.json")),
    Bad("safetensors without a sum", ("describe", "self-forcing", "--weights", "w"),
        "self_forcing_dmd.safetensors: not in SHA256SUMS, which lists weights of your own; in w run: sha256sum",
        file("w/self_forcing_dmd.safetensors", "x")),
    Bad("two checkpoints", ("describe", "self-forcing", "--weights", "w"), "each can be the checkpoint; leave one",
        _two_checkpoints),
    Bad("a container of the pocket", ("sample", "x", "--container", "generator"), "pocket takes no container"),
    *(Bad(f"{command} in chunks of {chunk}", (command, *words, "--backbone", "wan-1.3b", "--chunk", chunk),
          f"a chunk of {chunk} latent frames is not possible; allowed: 3 .as published., 1 .for frame-wise checkpoint")
      for command, *words in (("plan",), ("run",)) for chunk in ("0", "2", "-1", "21")),
    Bad("half a chunk", ("plan", "--chunk", "1.5"), "Invalid value for '--chunk'"),
    Bad("a chunk of the pocket", ("run", "--chunk", "1"), "pocket takes no chunk"),
    sizes("that are a list", [], "list instead of names"),
    sizes("of half a file", '{"dim": ', "Expecting value"),
    sizes("in quotes", {"dim": "1536"}, "WanConfig.dim must be a positive whole number"),
    sizes("below 0", {"num_layers": -1}, "WanConfig.num_layers must be a positive"),
    sizes("of a thousand million layers", {"num_layers": 10**9}, "num_layers is larger than that of any model"),
    sizes("of 5,000 digits", '{"dim": ' + "9" * 5000 + "}", "Exceeds the limit"),
    sizes("nested deep", "[" * 100_000, "nested too deep"),
    Bad("no folder of weights", ("describe", "longlive", "--weights", "w"), "w: no such folder of weights"),
    Bad("a file for weights", ("describe", "longlive", "--weights", "w"), "w: no such folder", file("w", "x")),
    Bad("weights that are missing", ("run", "--backbone", "self-forcing"), "of its .* files are missing.*hf download"),
    Bad("half a download", ("run", "--backbone", "self-forcing", "--weights", "w"), "half-downloaded or another file",
        file("w/self_forcing_dmd.pt", "half")),
    Bad("sums that are none", ("describe", "self-forcing", "--weights", "w"), "SHA256SUMS, line 1: not a sum",
        file("w/SHA256SUMS", "half of it\n")),
    Bad("sums of what is not there", ("describe", "self-forcing", "--weights", "w"), "lists vae/x, which is not there",
        file("w/SHA256SUMS", f"{'0' * 64}  vae/x\n")),
]  # fmt: skip
