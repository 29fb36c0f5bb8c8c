"""Requirements of each dimension of VBench: weights, packages, and how to get them.

VBench downloads missing files by itself, some of them when a module is imported, but a run must not download anything.
So everything is checked here first, and missing items are reported with the command that fetches them. Files lie where
VBench looks for them: under VBENCH_CACHE_DIR, or ~/.cache/vbench. VBench leaves the models of the fast branch to caches
of other packages; here they lie beside the others, under `dinov2_model` and `dreamsim_model`.

Only the standard library is imported here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.caches import hub_cache, with_home
from harness.files import digest
from suites.viewers.vbench.scores import CONSISTENCY, QUALITY, SEMANTIC

CUSTOM = tuple(QUALITY)
"""Dimensions for videos of any prompt. The official custom mode lists six of these; flickering is included here,
without the filter that keeps still clips only."""
STANDARD = (*QUALITY, *SEMANTIC)
"""Dimensions for videos of VBench's own prompts."""
PACKAGES = (
    *("vbench", "torch", "torchvision", "numpy", "transformers", "timm", "pyiqa", "decord", "opencv-python"),
    *("openai-clip", "dreamsim", "peft", "open_clip_torch", "av"),
)
"""Packages whose versions are recorded."""
PARAMETERS: Mapping[str, Mapping[str, Any]] = {"imaging_quality": {"imaging_quality_preprocessing_mode": "longer"}}
"""Arguments of dimensions beyond clips and models: the defaults of VBench-Long's command."""
INSTALL = "pip install -c constraints.txt -r suites/viewers/vbench/requirements.txt"


@dataclass(frozen=True)
class Need:
    """A file or folder under the cache. fetch: the command that gets it; {to} stands for its parent folder."""

    path: str
    fetch: str


def _wget(path: str, url: str) -> Need:
    return Need(path, f"wget -P {{to}} {url}")


_CLIP = "https://openaipublic.azureedge.net/clip/models"
_META = "https://dl.fbaipublicfiles.com"
_HUGGING = "https://huggingface.co"
_DREAMSIM = Need(
    "dreamsim_model/ensemble_lora",
    "wget -P {to} https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/"
    "dreamsim_ensemble_checkpoint.zip && unzip -d {to} {to}/dreamsim_ensemble_checkpoint.zip",
)
_DINO = (
    Need("dino_model/facebookresearch_dino_main", "git clone https://github.com/facebookresearch/dino {path}"),
    _wget(
        "dino_model/dino_vitbase16_pretrain.pth", f"{_META}/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth"
    ),
)
_DINOV2 = (
    Need("dinov2_model/facebookresearch_dinov2_main", "git clone https://github.com/facebookresearch/dinov2 {path}"),
    _wget("dinov2_model/dinov2_vitb14_pretrain.pth", f"{_META}/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth"),
)
_DREAM = (
    *(
        Need(f"dreamsim_model/{name}", _DREAMSIM.fetch)
        for name in ("dino_vitb16_pretrain.pth", "open_clip_vitb16_pretrain.pth.tar", "clip_vitb16_pretrain.pth.tar")
    ),
    _DREAMSIM,
    *_DINO,
)
_VIT_B = _wget(
    "clip_model/ViT-B-32.pt", f"{_CLIP}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt"
)
_VIT_L = _wget(
    "clip_model/ViT-L-14.pt", f"{_CLIP}/b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt"
)
_RAFT = Need(
    "raft_model/models/raft-things.pth",
    "wget -P {root}/raft_model https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip"
    " && unzip -d {root}/raft_model {root}/raft_model/models.zip",
)
_VICLIP = (
    _wget(
        "ViCLIP/ViClip-InternVid-10M-FLT.pth",
        f"{_HUGGING}/OpenGVLab/VBench_Used_Models/resolve/main/ViClip-InternVid-10M-FLT.pth",
    ),
    # The package clip includes the same file.
    Need(
        "ViCLIP/bpe_simple_vocab_16e6.txt.gz",
        'cp "$(python -c \'import importlib.util as u; print(u.find_spec("clip").submodule_search_locations[0])\')'
        '/bpe_simple_vocab_16e6.txt.gz" {to}',
    ),
)
_GRIT = (
    _wget(
        "grit_model/grit_b_densecap_objectdet.pth",
        "https://datarelease.blob.core.windows.net/grit/models/grit_b_densecap_objectdet.pth",
    ),
)
WEIGHTS: Mapping[str, tuple[Need, ...]] = {
    "subject_consistency_in_clip": _DINO,
    "subject_consistency_across_clips": _DINOV2,
    "subject_consistency": (*_DINO, *_DINOV2),
    "background_consistency_in_clip": (_VIT_B,),
    "background_consistency_across_clips": _DREAM,
    "background_consistency": (_VIT_B, *_DREAM),
    "temporal_flickering": (),
    "motion_smoothness": (_wget("amt_model/amt-s.pth", f"{_HUGGING}/lalala125/AMT/resolve/main/amt-s.pth"),),
    "dynamic_degree": (_RAFT,),
    "aesthetic_quality": (
        _VIT_L,
        Need(
            "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
            "wget -O {path} 'https://github.com/LAION-AI/aesthetic-predictor/blob/main/sa_0_4_vit_l_14_linear.pth"
            "?raw=true'",
        ),
    ),
    "imaging_quality": (
        _wget(
            "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth",
            "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
        ),
    ),
    "object_class": _GRIT,
    "multiple_objects": _GRIT,
    "color": _GRIT,
    "spatial_relationship": _GRIT,
    "human_action": (
        _wget(
            "umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth",
            f"{_HUGGING}/OpenGVLab/VBench_Used_Models/resolve/main/l16_ptk710_ftk710_ftk400_f16_res224.pth",
        ),
    ),
    "scene": (
        _wget(
            "caption_model/tag2text_swin_14m.pth",
            f"{_HUGGING}/spaces/xinyu1205/recognize-anything/resolve/main/tag2text_swin_14m.pth",
        ),
    ),
    "appearance_style": (_VIT_B,),
    "temporal_style": _VICLIP,
    "overall_consistency": _VICLIP,
}
"""Files that each metric needs under the cache; callers use `weights`."""
DETECTRON = ("object_class", "multiple_objects", "color", "spatial_relationship")
"""Dimensions that need detectron2, which has no wheels."""
BERT = (*DETECTRON, "scene")
"""Dimensions that read bert-base-uncased from the Hugging Face cache."""


def metrics(dimension: str) -> tuple[str, ...]:
    """Return the metrics of a dimension, in the order in which they are computed."""
    if dimension in CONSISTENCY:
        return (f"{dimension}_in_clip", f"{dimension}_across_clips", dimension)
    return (dimension,)


def root() -> Path:
    """Return the folder in which VBench looks for weights."""
    given = os.environ.get("VBENCH_CACHE_DIR")
    return Path(given) if given else with_home("~/.cache/vbench", "VBENCH_CACHE_DIR")


def weights(metric: str, mode: str) -> tuple[Need, ...]:
    """Return the weights of a metric; in standard mode flickering is measured on still clips, which RAFT selects."""
    return (_RAFT,) if (metric, mode) == ("temporal_flickering", "standard") else WEIGHTS[metric]


def remedy(metric: str, mode: str) -> str:
    """Return what to do before a metric can be measured; empty where nothing is missing."""
    return "; ".join(_missing(metric, mode))


def _missing(metric: str, mode: str) -> Iterator[str]:
    if metric in DETECTRON and find_spec("detectron2") is None:
        yield (
            "needs detectron2, which has to be built: "
            "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
        )
    if metric in BERT and not (hub_cache() / "models--bert-base-uncased").is_dir():
        yield "bert-base-uncased is missing; fetch it with: huggingface-cli download bert-base-uncased"
    told = set()
    for need in weights(metric, mode):
        path = root() / need.path
        fetch = need.fetch.format(to=path.parent, path=path, root=root())
        if not path.exists() and fetch not in told:
            told.add(fetch)
            yield f"{path} is missing; fetch it with: mkdir -p {path.parent} && {fetch}"


def fingerprints(metric: str, mode: str) -> dict[str, str | None]:
    """Return the SHA-256 of a metric's weights by path under the cache; for a folder, that of its relevant files; None
    where they are missing."""
    places = {need.path: root() / need.path for need in weights(metric, mode)}
    return {name: _fingerprint(path) if path.exists() else None for name, path in places.items()}


@cache
def _fingerprint(path: Path) -> str:
    if path.is_file():
        return digest(path)
    # In a hub repository only the code can change a number; git's own files differ from clone to clone.
    files = sorted(each for each in path.rglob("*") if each.suffix in (".py", ".json", ".bin", ".safetensors"))
    listed = "".join(f"{each.relative_to(path)} {digest(each)}\n" for each in files)
    return hashlib.sha256(listed.encode()).hexdigest()


@cache
def versions() -> Mapping[str, str | None]:
    """Return the versions of packages that could change a number; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
