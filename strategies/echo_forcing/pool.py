"""Earlier scenes, stored off the device, and the choice of the scene that a switch recalls.

Paper: Echo-Forcing, arXiv:2605.16003, scene pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness.errors import SwitchError
from harness.memory import Boundary, Entries, MemorySpec, PromptSwitch
from harness.memory.packed import Packing, restored
from strategies.echo_forcing.scenes import Matching, features, idf, recall_jump, similar

Known = Literal["script", "stream"]


@dataclass(frozen=True)
class Scene:
    """A finished scene. prompts: [B, L, text_dim]. frames: its representative frame in every layer, by source."""

    texts: list[str] | None
    prompts: Tensor
    frames: Mapping[str, Sequence[Entries]]

    @classmethod
    def of(cls, switch: PromptSwitch, frames: Mapping[str, Sequence[Entries]]) -> Scene:
        """Return the scene that ends with this switch, copied off the device."""
        away = {source: [entries.by_frame(_away) for entries in layers] for source, layers in frames.items()}
        texts = None if switch.old_texts is None else list(switch.old_texts)
        return cls(texts, _away(switch.old_prompts), away)

    def stored(self) -> Iterable[Tensor]:
        yield self.prompts
        for layers in self.frames.values():
            for entries in layers:
                yield from entries.stored

    def state_dict(self) -> dict[str, Any]:
        frames = {source: [entries.state() for entries in layers] for source, layers in self.frames.items()}
        return {"texts": self.texts, "prompts": self.prompts, "frames": frames}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], packing: Packing | None) -> Scene:
        frames = {
            source: [restored(each, packing).by_frame(Tensor.cpu) for each in layers]
            for source, layers in state["frames"].items()
        }
        return cls(state["texts"], state["prompts"].cpu(), frames)


def _away(x: Tensor) -> Tensor:
    """Return a copy off the device; a meta tensor stays a meta tensor."""
    return x.clone() if x.is_meta else x.to("cpu", copy=True)


class Pool:
    """Scenes in order; beyond `most` scenes the oldest is dropped.

    matching, known, asked: the knobs `matching`, `known` and `recalls` of `EchoForcing`.
    """

    def __init__(self, most: int, matching: Matching, known: Known, asked: Sequence[int]) -> None:
        self.most, self.matching, self.known, self.asked = most, matching, known, asked
        self.scenes: list[Scene] = []
        self.dropped = 0
        self.recalls = 0
        self.last_kind: Boundary | None = None
        self.base: Scene | None = None  # the first scene since the last switch that was not smooth

    def add(self, scene: Scene) -> None:
        self.scenes.append(scene)
        if len(self.scenes) > self.most:
            del self.scenes[0]
            self.dropped += 1

    def recalled(self, switch: PromptSwitch, jump: tuple[int, int]) -> tuple[list[Scene], list[int]]:
        """Return the scene that each row of the new scene starts behind, and the jump of each row's first chunk.

        jump: smallest and largest jump, in temporal ids.
        """
        least, most = jump
        rows = switch.new_prompts.shape[0]
        self.last_kind = switch.kind
        if switch.kind == "recall":
            self.base = None
            chosen = [self._match(row, switch) for row in range(rows)]
            self.recalls += 1
            jumps = [recall_jump(scores, number, least, most) for scores, number in chosen]
            return [self.scenes[number] for _, number in chosen], jumps
        scene = self.scenes[-1]
        if switch.kind == "smooth":
            self.base = scene = self.base or scene
        else:
            self.base = None
        return [scene] * rows, [most] * rows

    def _match(self, row: int, switch: PromptSwitch) -> tuple[list[float], int]:
        """Return the similarity of every scene to a row's prompt, and the index of the scene to recall."""
        scores = self._scores(row, switch)
        if self.recalls < len(self.asked):
            number = self.asked[self.recalls] - 1 - self.dropped
            if not 0 <= number < len(self.scenes):
                raise SwitchError(
                    f"echo_forcing: recall at frame {switch.start} asks for scene {number + 1 + self.dropped}; "
                    f"scenes {1 + self.dropped} to {self.dropped + len(self.scenes)} are remembered"
                )
            return scores, number
        return scores, scores.index(max(scores))

    def _scores(self, row: int, switch: PromptSwitch) -> list[float]:
        if switch.new_prompts.is_meta:
            return [1.0] * len(self.scenes)  # meta tensors have no values to compare
        texts = [scene.texts[row] for scene in self.scenes if scene.texts is not None]
        spoken = switch.new_texts is not None and len(texts) == len(self.scenes)
        if not spoken or (switch.encode is None and self.matching == "similar"):
            asked = features(switch.new_prompts[row : row + 1].cpu().float())[0]
            return [float(features(scene.prompts[row : row + 1].float())[0] @ asked) for scene in self.scenes]
        assert switch.new_texts is not None
        asked_text = switch.new_texts[row]
        corpus = [*texts, asked_text]
        if self.known == "script" and switch.script is not None:
            corpus = [scene[row] for scene in switch.script]
        if self.matching == "idf":
            return idf(asked_text, texts, corpus)
        assert switch.encode is not None
        return similar(asked_text, texts, corpus, switch.encode)

    def frame(self, scenes: Sequence[Scene], source: str, layer: int, spec: MemorySpec) -> Entries:
        """Return the representative frame of each row's scene, back on the device: [B, 1, S, ...]."""
        each = iter(zip(*(scene.frames[source][layer].stored for scene in scenes), strict=True))
        first = scenes[0].frames[source][layer]
        return first.by_frame(
            lambda _: torch.cat([x[row : row + 1] for row, x in enumerate(next(each))]).to(spec.device)
        )

    def stored(self) -> Iterable[Tensor]:
        for scene in (*self.scenes, *([self.base] if self.base else [])):
            yield from scene.stored()

    def state_dict(self) -> dict[str, Any]:
        base = next((number for number, scene in enumerate(self.scenes) if scene is self.base), None)
        return {
            "scenes": [scene.state_dict() for scene in self.scenes],
            "dropped": self.dropped,
            "recalls": self.recalls,
            "last_kind": self.last_kind,
            "base": base,
            "lost_base": self.base.state_dict() if self.base is not None and base is None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any], packing: Packing | None) -> None:
        self.scenes = [Scene.from_state(scene, packing) for scene in state["scenes"]]
        self.dropped, self.recalls, self.last_kind = state["dropped"], state["recalls"], state["last_kind"]
        self.base = None if state["base"] is None else self.scenes[state["base"]]
        if state["lost_base"] is not None:
            self.base = Scene.from_state(state["lost_base"], packing)
