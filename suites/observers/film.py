"""Observer of rollouts without a known truth: it films them, and compares them with their own first seconds.

Metrics that need other models or libraries (features, flow, VBench) are computed later from the finished films, by
viewers (`suites.viewers`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.campaign.film_list import WINDOWS
from harness.errors import NotFiniteError
from harness.files import write_text
from harness.films.decoding import Decoded, Decoding
from harness.suite import Place, Sample, Task
from suites.observers.curves import BEGINNING, CURVES, Curves, edges
from suites.observers.filmstrip import Strip

if TYPE_CHECKING:
    from harness.films.writer import VideoWriter

__all__ = ["BEGINNING", "CURVES", "Camera", "edges"]


class _Begun(NamedTuple):
    """A chunk whose decoding has begun: its latent frames, and what returns its pictures."""

    start: int
    stop: int
    take: Callable[[], Decoded]


class Camera:
    """Observer of one task of a backbone with a codec: a film a row, and curves by window."""

    def __init__(self, backbone: Backbone, task: Task, place: Place) -> None:
        assert backbone.codec is not None
        self.task, self.place = task, place
        self.decoding = Decoding(backbone.codec.decoder(), backbone.model.device)
        self.rate = backbone.codec.frames_per_second
        self.about = {**place.about, "backbone": backbone.name, "scenario": task.scenario, "latent_frames": task.frames}
        if "decoder" in backbone.options:
            self.about["decoder"] = backbone.options["decoder"]
        self.curves = Curves(edges(task.frames), self.rate, backbone.pixel_frames)
        self.strip = Strip(task.frames)
        self.begun: _Begun | None = None
        self.writers: list[VideoWriter] = []  # made at the first pictures, or from a saved state

    def see(self, latents: Tensor, start: int) -> None:
        stop = start + latents.shape[1]
        following = _Begun(start, stop, self.decoding.start(latents))
        # The chunk before is measured and written while this one is decoded.
        self._finish()
        self.begun = following
        ends = stop >= self.task.frames
        if ends or not self.decoding.beside:
            self._finish()
        if ends:
            for writer in self.writers:
                writer.join()
            write_text(self.place.folder / WINDOWS, json.dumps(edges(self.task.frames)))

    def _finish(self) -> None:
        """Measure and write the chunk whose decoding has begun, if there is one."""
        if self.begun is None:
            return
        (start, stop, take), self.begun = self.begun, None
        pictures = take().pictures.float()
        if not bool(pictures.isfinite().all()):
            # The writer would convert them to black pictures, and the film would look valid.
            raise NotFiniteError(f"pictures are not finite from latent frame {start} on")
        if not self.writers:
            self.writers = self._writers([0] * len(self.task.rows) * (2 if self.place.lossless else 1))
        for number, writer in enumerate(self.writers):
            writer.write(pictures[number % len(self.task.rows)])
        self.strip.see(self.curves.see(pictures, stop).cpu(), start)

    def samples(self) -> list[Sample]:
        return self.curves.taken

    def pictures(self) -> dict[str, Any]:
        return self.strip.arrays()

    def state_dict(self) -> dict[str, Any]:
        self._finish()
        return {
            "decoder": self.decoding.state_dict(),
            "pieces": [writer.cut() for writer in self.writers],
            "strip": self.strip.state_dict(),
            **self.curves.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.decoding.load_state_dict(state["decoder"])
        self.writers = self._writers(state["pieces"])
        self.curves.load_state_dict(state)
        self.strip.load_state_dict(state["strip"])

    def _writers(self, pieces: list[int]) -> list[VideoWriter]:
        """Return a film writer a row, then a lossless one a row, where these are requested."""
        # Imported here, because most processes that load this suite do not film.
        from harness.films.writer import VideoWriter

        made = []
        for number, there in enumerate(pieces):
            place = number % len(self.task.rows)
            row, lossless = self.task.rows[place], number >= len(self.task.rows)
            about = {"title": row.prompt, **self.about, "row": place, "prompt": row.prompt, "seed": row.seed}
            path = self.place.folder / f"{place}{'.mkv' if lossless else '.mp4'}"
            made.append(VideoWriter(path, self.rate, lossless=lossless, about=about, pieces=there))
        return made
