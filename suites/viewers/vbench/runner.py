"""Runner of the package vbench: values by clip from its own functions, models loaded once, no downloads.

VBench-Long's functions for clips are called here for the clips of one video at a time, so that a run can be stopped
after any video. Imported only where vbench is installed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.errors import CampaignError, StoreError
from harness.files import own
from suites.viewers.perceptual.weights import allow_torchvision
from suites.viewers.vbench import dimensions as needs
from suites.viewers.vbench.clips import write

STATIC_CLIPS = 5
"""Most still clips of a video on which flickering is measured, in standard mode."""
LOADERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "subject_consistency": (("torch.hub", "load"),),
    "background_consistency": (("clip", "load"),),
    "aesthetic_quality": (("clip", "load"), ("vbench.aesthetic_quality", "get_aesthetic_model")),
    "appearance_style": (("clip", "load"),),
    "imaging_quality": (("vbench.imaging_quality", "MUSIQ"),),
    "motion_smoothness": (("vbench.motion_smoothness", "MotionSmoothness"),),
    "dynamic_degree": (("vbench.dynamic_degree", "DynamicDegree"),),
    "temporal_style": (("vbench.temporal_style", "ViCLIP"),),
    "overall_consistency": (("vbench.overall_consistency", "ViCLIP"),),
    "scene": (("vbench.scene", "tag2text_caption"),),
}
"""Functions that load the models of a dimension, which VBench would call again for every video."""


class Package:
    """The dimensions of VBench on a device; only the models of one dimension are held at a time.

    folder: for working files. Raises CampaignError for a device that does not exist.
    """

    def __init__(self, device: str, folder: Path) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise CampaignError(f"--device {device}: no GPU is seen here; write --device cpu")
        self.device, self.folder = torch.device(device), folder
        self._dimension, self._models = "", {}  # type: str, dict[str, Any]
        _prepare(folder)
        if self.device.type == "cpu":
            # Some of VBench's weights were saved from a GPU and are loaded without a map_location.
            torch.load = partial(torch.load, map_location="cpu")

    def clips(
        self, dimension: str, clips: Sequence[Path], prompt: str, known: Mapping[str, Any], still: bool
    ) -> list[float | None]:
        """Return a dimension's values by clip, between 0 and 1; None for a clip to which it does not apply.

        prompt: of the video. known: entries of VBench's list for the prompt, for dimensions that need them. still:
        measure on nearly still clips, at most `STATIC_CLIPS` of them (the static filter; the official one takes that
        many for a prompt, over all of its videos).
        """
        with self._models_of(dimension), torch.no_grad():
            chosen = self._still(clips) if still else list(clips)
            if not chosen:
                return [None] * len(clips)
            module = importlib.import_module(f"vbench.{dimension}")
            compute = getattr(module, f"compute_{dimension}")
            models = importlib.import_module("vbench.utils").init_submodules([dimension], local=True)[dimension]
            entry = {
                "prompt_en": prompt,
                "dimension": [dimension],
                "video_list": [str(path) for path in chosen],
                **({"auxiliary_info": dict(known)} if known else {}),
            }
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                listing = Path(place) / "full_info.json"
                listing.write_text(json.dumps([entry]), encoding="utf-8")
                _, found = compute(str(listing), self.device, models, **needs.PARAMETERS.get(dimension, {}))
        # MUSIQ's scale ends at 100; VBench divides the average that it prints, but not the values by clip.
        scale = 100.0 if dimension == "imaging_quality" else 1.0
        values = {each["video_path"]: float(each["video_results"]) / scale for each in found}
        return [values.get(str(path)) for path in clips]

    def across(self, dimension: str, first_frames: Path) -> float:
        """Return the similarity of a video's clips, from a video of their first frames (the dev flag's fast branch)."""
        module = importlib.import_module(f"vbench2_beta_long.{dimension}")
        with self._models_of(dimension), torch.no_grad():
            if dimension == "subject_consistency":
                model = self._once("dinov2", self._dinov2)
                # Passed twice, because VBench-Long divides by the number of videos minus one.
                found = module.subject_consistency_dinov2(model, [str(first_frames)] * 2, self.device, False)
            else:
                model = self._once("dreamsim", self._dreamsim)
                found = module.background_consistency_dreamsim(model, None, [str(first_frames)], self.device, False)
        return float(found[1][0]["video_results"])

    def _dinov2(self) -> Any:
        repository = needs.root() / "dinov2_model" / "facebookresearch_dinov2_main"
        return torch.hub.load(str(repository), "dinov2_vitb14", source="local").to(self.device)

    def _dreamsim(self) -> Any:
        model, _ = importlib.import_module("dreamsim").dreamsim(
            pretrained=True, device=str(self.device), cache_dir=torch.hub.get_dir()
        )
        return model

    def _still(self, clips: Sequence[Path]) -> list[Path]:
        module = importlib.import_module("vbench2_beta_long.static_filter")
        weights = str(needs.root() / "raft_model" / "models" / "raft-things.pth")
        # The module reads its device from a module constant.
        setattr(module, "DEVICE", self.device)  # noqa: B010
        easydict = importlib.import_module("easydict")
        about = easydict.EasyDict(model=weights, small=False, mixed_precision=False, alternate_corr=False)
        tell = self._once("static filter", lambda: module.StaticFilter(about, self.device))
        found: list[Path] = []
        for path in clips:
            if len(found) < STATIC_CLIPS and tell.infer(str(path)):
                found.append(path)
        return found

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._models:
            self._models[key] = make()
        return self._models[key]

    @contextmanager
    def _models_of(self, dimension: str) -> Iterator[None]:
        """Inside this context, functions that would load a model of this dimension again return the loaded one."""
        if dimension != self._dimension:
            self._dimension, self._models = dimension, {}
        replaced = []
        for module_name, name in LOADERS.get(dimension, ()):
            module = importlib.import_module(module_name)
            replaced.append((module, name, getattr(module, name)))

        def keeping(name: str, load: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args, **kwargs: self._once(f"{name} {args!r} {kwargs!r}", lambda: load(*args, **kwargs))

        try:
            for module, name, load in replaced:
                setattr(module, name, keeping(name, load))
            yield
        finally:
            for module, name, load in replaced:
                setattr(module, name, load)


def _prepare(folder: Path) -> None:
    """Make the package importable, and prevent its downloads."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    allow_torchvision()
    io = importlib.import_module("torchvision.io")
    if not hasattr(io, "write_video"):
        io.write_video = _write_video  # type: ignore[attr-defined]
    # DINO's hub repository does not read the file that VBench names, but torch's own cache, and would download into
    # that. So torch's cache is a folder of links to VBench's files.
    hub = folder / f"hub-{hashlib.sha256(str(needs.root().absolute()).encode()).hexdigest()[:8]}"
    for target, place in {
        "dino_model/dino_vitbase16_pretrain.pth": "checkpoints/dino_vitbase16_pretrain.pth",
        "dinov2_model/dinov2_vitb14_pretrain.pth": "checkpoints/dinov2_vitb14_pretrain.pth",
        "dino_model/facebookresearch_dino_main": "facebookresearch_dino_main",
        **{need.path: Path(need.path).name for need in needs.WEIGHTS["background_consistency_across_clips"][:4]},
    }.items():
        link, file = hub / place, (needs.root() / target).absolute()
        own(folder, *link.parent.relative_to(folder).parts).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(file)
        # Loading weights may execute code, and the folder may come from elsewhere.
        if not link.is_symlink() or Path(os.readlink(link)) != file:
            raise StoreError(f"{link}: not the link to {file}; remove {folder}, which holds nothing but copies")
    torch.hub.set_dir(str(hub))
    torch.hub.download_url_to_file = _refuse


def _write_video(filename: str, video_array: torch.Tensor, fps: float) -> None:
    """Write a video in place of torchvision's function, which is gone from 0.28. video_array: [T, H, W, 3], 0..255."""
    write(Path(filename), video_array.to(torch.uint8).numpy(), fps)


def _refuse(url: str, *_: Any, **__: Any) -> None:
    raise StoreError(f"{url} is missing, and a run fetches nothing; see the remedies of suites.viewers.vbench.run")
