"""What prompt switches cost a memory, noted while a cell runs."""

from __future__ import annotations

import time
from dataclasses import replace

from torch import Tensor

from harness.memory import Memory, PromptSwitch
from harness.memory.proxy import Watched


class SwitchMeter(Watched):
    """Notes what a memory does at prompt switches: seconds, extra passes over latent frames, bytes that it grows by."""

    def __init__(self, inner: Memory, notes: list[dict[str, float]]) -> None:
        super().__init__(inner)
        self.notes = notes

    def forget(self, switch: PromptSwitch) -> None:
        note: dict[str, float] = {"passes": 0, "frames": 0, "bytes": -self.inner.nbytes()}

        def replay(latents: Tensor, start: int, chunk: int | None = None) -> None:
            note["passes"] += -(-latents.shape[1] // (chunk or max(latents.shape[1], 1)))
            note["frames"] += latents.shape[1]
            switch.replay(latents, start, chunk)

        began = time.monotonic()
        self.inner.forget(replace(switch, replay=replay))
        note["seconds"] = time.monotonic() - began
        note["bytes"] += self.inner.nbytes()
        self.notes.append(note)
