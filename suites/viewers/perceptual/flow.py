"""Motion by optical flow, and VBench's verdict of dynamic degree (Huang et al. 2024): whether anything moves at all.

Flow is measured between frames an eighth of a second apart (the nearest whole number of frames, at least one). A pair
is represented by the mean length of its longest 5 %, in pixels of the video's own size. A window has up to 64 pairs,
evenly spaced. Flow is computed by RAFT (Teed and Deng 2020) where its weights exist, else by polynomial expansion
(Farnebäck 2003), on grey pictures with a shorter side of at most 256 pixels.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness.errors import StoreError
from harness.films.contract import Film, Span
from harness.films.view_files import Part
from suites.viewers.perceptual.weights import allow_torchvision, checkpoint, fetch, lacking, sha256, versions
from suites.viewers.video_file import Picture, pictures

WEIGHTS = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"
PAIRS = 64
"""Most pairs of a window; it bounds the cost of long windows."""
SHORT = 256
LONGEST = 0.05
UPDATES = 20
"""RAFT's refinement steps, as in VBench."""
FARNEBACK = {"pyr_scale": 0.5, "levels": 5, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.1}
CONTRAST = 4
"""Factor on grey values for Farnebäck's method. OpenCV damps flow by a fixed amount, which makes soft pictures look
still (very soft ones keep a tenth of their motion, or less); a much larger factor would turn noise into motion."""
SMALLEST = 128
"""Smallest side that RAFT accepts, in pixels."""
SAMPLING = f"frames 1/8 s apart, at most {PAIRS} pairs a window, evenly; the longest {LONGEST:.0%} of a pair"


class Flow:
    """Motion in every window: `flow`, pixels in an eighth of a second; `dynamic`, 1 where the video moves, else 0.

    raft: use RAFT only; otherwise RAFT where its weights exist, else Farnebäck's method.
    """

    def __init__(self, device: str, raft: bool = False) -> None:
        self.device, self.weights = device, checkpoint(WEIGHTS)
        self.raft = raft or (self.weights.is_file() and importlib.util.find_spec("torchvision") is not None)
        self._last: tuple[Film, dict[Span, list[float]]] | None = None
        self._shorter = 0

    def remedy(self) -> str | None:
        """Return why flow cannot be measured and what to do, or None."""
        if not self.raft:
            return lacking(cv2="opencv-python-headless")
        if lacks := lacking(torchvision="torchvision"):
            return lacks
        return None if self.weights.is_file() else f"needs RAFT's weights; fetch them with: {fetch(self.weights)}"

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        if self.raft:
            how = {
                "method": "raft_large",
                "weights": sha256(self.weights),
                "updates": UPDATES,
                "versions": versions("torch", "torchvision"),
                "device": self.device,
            }
        else:
            import cv2

            how = {
                "method": "farneback",
                "short": SHORT,
                "contrast": CONTRAST,
                **FARNEBACK,
                "versions": {"opencv": cv2.__version__},
            }
        return {**how, "sampling": SAMPLING}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""
        if self._last is None or self._last[0] != film:
            # Both metrics use the same pairs, so the last film's are cached.
            self._last = film, self._windows(film)
        found = [(span.at_frame, lengths) for span, lengths in self._last[1].items()]
        if metric == "flow":
            return Part(tuple((at, round(float(np.mean(each)), 6) if each else None) for at, each in found))
        return Part(tuple((at, dynamic(each, self._shorter)) for at, each in found))

    def _windows(self, film: Film) -> dict[Span, list[float]]:
        step = max(1, round(film.rate / 8))
        windows = {span: starts(span.start, span.end, step) for span in film.windows}
        firsts = {frame for frames in windows.values() for frame in frames}
        held: dict[int, Any] = {}
        lengths: dict[int, float] = {}
        for number, picture in pictures(film.path, firsts | {frame + step for frame in firsts}):
            self._shorter = min(picture.shape[:2])
            shown = self.shown(picture)
            if (first := number - step) in firsts:
                lengths[first] = longest(self.between(held.pop(first), shown))
            if number in firsts:
                held[number] = shown
        return {span: [lengths[frame] for frame in frames] for span, frames in windows.items()}

    def shown(self, picture: Picture) -> Any:
        """Return a picture in the method's format: grey, or [1, 3, H, W] in -1..1 with sides that RAFT can divide."""
        if not self.raft:
            import cv2

            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) * CONTRAST
            scale = min(1, SHORT / min(grey.shape))
            size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
            return grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA), picture.shape[:2]
        values = torch.from_numpy(picture).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        height, width = (max(SMALLEST, -(-side // 8) * 8) - side for side in picture.shape[:2])
        return F.pad(values, (0, width, 0, height), mode="replicate"), picture.shape[:2]

    @torch.inference_mode()
    def between(self, before: Any, after: Any) -> NDArray[np.float32]:
        """Return the displacement of every pixel, [H, W, 2] in pixels of the video's own size, right and down."""
        (ones, (height, width)), (others, _) = before, after
        if self.raft:
            found = self.network(ones, others, num_flow_updates=UPDATES)[-1][0, :, :height, :width]
            flow: NDArray[np.float32] = found.permute(1, 2, 0).float().cpu().numpy()
            return flow
        import cv2

        found = cv2.calcOpticalFlowFarneback(ones, others, None, **FARNEBACK, flags=0)
        return np.asarray(found * (width / found.shape[1], height / found.shape[0]), np.float32)

    @cached_property
    def network(self) -> Any:
        """Return RAFT on its device. Raises StoreError for weights that cannot be read."""
        allow_torchvision()
        from torchvision.models.optical_flow import raft_large

        network = raft_large(weights=None)
        try:
            network.load_state_dict(torch.load(self.weights, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StoreError(f"{self.weights}: not RAFT's weights ({reason}); fetch them anew") from None
        return network.eval().to(self.device)


def starts(start: int, end: int, step: int) -> list[int]:
    """Return the frames of a window from which flow is measured; the frame `step` later is in the window too."""
    all_ = range(start, end - step, step)
    return list(all_) if len(all_) <= PAIRS else [all_[each * len(all_) // PAIRS] for each in range(PAIRS)]


def longest(flow: NDArray[np.float32]) -> float:
    """Return the mean length of the longest 5 % of a flow [H, W, 2]."""
    lengths = np.sqrt(np.square(flow.astype(np.float64)).sum(-1)).ravel()
    count = max(1, int(LONGEST * lengths.size))
    return float(np.partition(lengths, -count)[-count:].mean())


def dynamic(lengths: Sequence[float], shorter: int) -> float | None:
    """Return VBench's verdict on the pairs of a window: 1 where 4 of 16 of them, rounded, move by more than 6 pixels at
    a shorter side of 256."""
    if not lengths:
        return None
    moving = sum(length > 6 * shorter / 256 for length in lengths)
    return float(moving >= max(1, round(4 * len(lengths) / 16)))
