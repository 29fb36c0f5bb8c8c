"""Knobs that no memory can have, and invalid files of a memory's parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from strategies.longlive_rag.encoder import FrameEncoder
from tests.bad_inputs.checker import Bad

RECENT = "does not fit a chunk of 3 latent frames, which it includes; allowed: 3 to 6"
DIVIDED = r"is no multiple of the chunk .3 latent frames.; take 18 or 21"
ABSORBS = "do not fit a chunk of 3 latent frames.*sink must be 3, window a multiple of it"
KNOBS = [
    ("a budget below sink and recent", "deep_forcing.budget=13", r"budget 13 does not fit .*; allowed: 14 to 21"),
    ("a budget above the window", "deep_forcing.budget=22", r"budget 22 does not fit .*; allowed: 14 to 21"),
    ("recent frames below a chunk", "deep_forcing.recent=2", f"recent 2 {RECENT}"),
    ("recent frames of three chunks", "deep_forcing.recent=7", f"recent 7 {RECENT}"),
    ("a window of no whole chunks", "deep_forcing.window=20", f"window 20 {DIVIDED}"),
    ("a walk of no whole chunks", "rolling_sink.window=20", f"window 20 {DIVIDED}"),
    ("an absorbing window of no whole chunks", "ema_sink.window=10", ABSORBS),
    ("an absorbing sink of two", "ema_sink.sink=2", ABSORBS),
    (
        "a window without room to retrieve",
        "longlive_rag.window=9",
        "window 9 is smaller .* raise window to at least 10",
    ),
    ("a window without room for its sink", "memflow.window=5", "window 5 is smaller .* raise window to at least 6"),
    ("a pin below sink and chunk", "attention_sink.pinned_at=4", "pinned_at 4 leaves no room .* at least 5"),
    ("a pin below a replay", "attention_sink.pinned_at=10,on_switch=recache", "pinned_at 10 leaves .* at least 11"),
]
AE = "longlive_rag.descriptor=ae,encoder=e.safetensors"


def encoder(channels: int, **changes: torch.Tensor) -> Callable[[Path], object]:
    """A frame encoder in the file `e.safetensors`, some of its parameters other ones."""

    def setup(folder: Path) -> None:
        state = dict(FrameEncoder(channels, (8, 6), 5).state_dict(), **changes)
        save_file({f"encoder.{name}": x for name, x in state.items()}, folder / "e.safetensors")

    return setup


def commands(name: str, text: str, words: str, setup: Callable[[Path], object] = lambda folder: None) -> list[Bad]:
    """Return the same mistake for every command that takes a strategy."""
    return [
        Bad(f"{name}, {command}", (command, *more, text), words, setup)
        for command, *more in (("verify",), ("plan", "--strategy"), ("run", "--strategy"))
    ]


ROWS = [
    *(bad for name, text, words in KNOBS for bad in commands(name, text, words)),
    *commands("an encoder of other latents", AE, "frames of 8 channels.*; allowed: an encoder of", encoder(8)),
    *commands(
        "an encoder of another shape",
        AE,
        r"e.safetensors: not the frame encoder.*encoder.fc.bias is 4; allowed: 5",
        encoder(16, **{"fc.bias": torch.zeros(4)}),
    ),
]
