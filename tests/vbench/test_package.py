"""The real package, end to end, in its own environment: `python -m pytest tests/vbench`. Skipped where it is not."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

# Found, not imported: beside a CPU torch that takes preparation, and the cache is fixed by the import.
if find_spec("vbench") is None and "HORIZON_VIEWER" not in os.environ:
    pytest.skip("vbench is not installed: nox -s viewers tests it", allow_module_level=True)

from harness.films.contract import read_films
from harness.films.view_files import read_view, view_path
from suites.viewers.perceptual.weights import allow_torchvision
from suites.viewers.vbench import dimensions as needs
from suites.viewers.vbench.checkout import Asked
from suites.viewers.vbench.run import Manner, look
from suites.viewers.vbench.runner import Package
from suites.viewers.vbench.scores import combined
from suites.viewers.video_file import pictures
from tests.vbench.world import hub, linear, listed, small_clip, still_and_moving

DINO = ("dino_model/facebookresearch_dino_main", "dino_model/dino_vitbase16_pretrain.pth")
DINOV2 = ("dinov2_model/facebookresearch_dinov2_main", "dinov2_model/dinov2_vitb14_pretrain.pth")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Small random weights where VBench looks for them; must be there before vbench is imported."""
    allow_torchvision()
    home = tmp_path_factory.mktemp("cache")
    small_clip(home / "clip_model" / "ViT-B-32.pt", 512)
    small_clip(home / "clip_model" / "ViT-L-14.pt", 768)
    linear(home / "aesthetic_model" / "emb_reader" / "sa_0_4_vit_l_14_linear.pth")
    hub(home, *DINO, "dino_vitb16")
    hub(home, *DINOV2, "dinov2_vitb14")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VBENCH_CACHE_DIR", str(home))
        patch.setenv("PATH", "")  # no wget, no git: nothing can be fetched
        needs._fingerprint.cache_clear()
        yield home


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    return listed(folder, {"still_one": still_and_moving(80, 0), "moving": still_and_moving(80, 3)})


@pytest.fixture(scope="module")
def package(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return Package("cpu", tmp_path_factory.mktemp("work"))


def fresh(listing: Path) -> Path:
    """The same videos, not yet looked at."""
    for view in listing.parent.glob("views/vbench/*.json"):
        view.unlink()
    return listing


def values(listing: Path, film: str) -> dict[str, float | None]:
    view = read_view(view_path(listing.parent, "vbench", film))
    return {name: part.samples[-1][1] for name, part in view.parts.items() if not part.skipped}


def test_flickering_is_the_change_from_frame_to_frame(listing: Path, package: Package) -> None:
    look(listing, Manner("custom", "cpu"), package, ["temporal_flickering"], "1/1", package.folder)
    kept = json.loads((listing.parent / "views" / "vbench" / "clips" / "moving.json").read_text(encoding="utf-8"))
    assert [(clip["start"], clip["end"]) for clip in kept["clips"]] == [(0, 32), (32, 64), (48, 80)]
    for clip, score in zip(kept["clips"], kept["scores"]["temporal_flickering"], strict=True):
        path = next(package.folder.glob(f"*/{clip['name']}"))
        seen = [picture.astype(float) for _, picture in pictures(path, range(32))]
        change = np.mean([np.abs(one - two).mean() for one, two in pairwise(seen)])
        # OpenCV and PyAV turn YUV into RGB with other roundings.
        assert score == pytest.approx((255 - change) / 255, abs=2e-3)
    moving, still = (
        values(listing, "moving")["temporal_flickering"],
        values(listing, "still_one")["temporal_flickering"],
    )
    assert moving == pytest.approx(np.mean(kept["scores"]["temporal_flickering"]))
    assert still > 0.999 > moving


def test_aesthetic_runs_and_background_waits_for_dreamsim(listing: Path, package: Package) -> None:
    names = ["background_consistency", "aesthetic_quality"]
    counts = look(fresh(listing), Manner("custom", "cpu"), package, names, "1/1", package.folder)
    for film in ("moving", "still_one"):
        got = values(listing, film)
        assert -1 < got["aesthetic_quality"] < 1
        assert 0 < got["background_consistency_in_clip"] <= 1
        assert "background_consistency" not in got
    assert values(listing, "still_one")["background_consistency_in_clip"] == pytest.approx(1, abs=1e-3)
    assert counts.pop("") == 4
    assert any("dreamsim_ensemble_checkpoint.zip" in why for why in counts)


@pytest.mark.parametrize(
    ("module", "dimension", "times"),
    [("clip", "aesthetic_quality", 1), ("torch.hub", "subject_consistency", 2)],
)
def test_models_are_loaded_once_for_all_videos(
    listing: Path, package: Package, monkeypatch: pytest.MonkeyPatch, module: str, dimension: str, times: int
) -> None:
    home = importlib.import_module(module)
    loaded, load = [], home.load
    monkeypatch.setattr(home, "load", lambda *args, **kwargs: (loaded.append(args), load(*args, **kwargs))[1])
    package._dimension = ""
    counts = look(fresh(listing), Manner("custom", "cpu"), package, [dimension], "1/1", package.folder)
    assert len(loaded) == times
    assert dict(counts) == {"": 2 * len(needs.metrics(dimension))}


def test_the_fast_branch_compares_first_frames(listing: Path, package: Package) -> None:
    look(listing, Manner("custom", "cpu"), package, ["subject_consistency"], "1/1", package.folder)
    got = values(listing, "moving")
    near, far = got["subject_consistency_in_clip"], got["subject_consistency_across_clips"]
    assert got["subject_consistency"] == pytest.approx(combined("subject_consistency", near, far))
    assert near < values(listing, "still_one")["subject_consistency_in_clip"] == pytest.approx(1, abs=1e-3)
    record = read_view(view_path(listing.parent, "vbench", "moving")).protocol["subject_consistency"]
    assert set(record["weights"]) == {*DINO, *DINOV2}
    assert all(len(digest) == 64 for digest in record["weights"].values())
    assert record["packages"]["vbench"] == "0.1.5"


def test_the_official_tool_gives_the_same(listing: Path, package: Package, cache: Path, tmp_path: Path) -> None:
    """VBench-Long's own command on the same clips: flickering, aesthetic, and subject with its fast branch."""
    import torch
    from vbench2_beta_long import VBenchLong

    subject = importlib.import_module("vbench2_beta_long.subject_consistency")
    names = ["temporal_flickering", "aesthetic_quality", "subject_consistency"]
    look(listing, Manner("custom", "cpu"), package, names, "1/1", package.folder)
    videos = tmp_path / "videos"
    for film in read_films(listing):
        name = {"moving": "moving-0", "still_one": "still-0"}[film.id]
        home = videos / "split_clip" / name
        home.mkdir(parents=True)
        shutil.copy(film.path, videos / f"{name}.mp4")
        kept = json.loads(
            (listing.parent / "views" / "vbench" / "clips" / f"{film.id}.json").read_text(encoding="utf-8")
        )
        for number, clip in enumerate(kept["clips"]):
            shutil.copy(next(package.folder.glob(f"*/{clip['name']}")), home / f"{name}_{number:03d}.mp4")
    config = tmp_path / "configs"
    config.mkdir()
    tables = json.loads((Path(needs.__file__).parent / "tables" / "long.json").read_text(encoding="utf-8"))
    (config / "slow.yaml").write_text("w_inclip_sb: 0.5\nw_clip2clip_sb: 0.5\n", encoding="utf-8")
    pairs = tables["mapping"]["subject_consistency"]
    (config / "map.yaml").write_text("".join(f"{x}: {y}\n" for x, y in pairs), encoding="utf-8")
    load = torch.hub.load
    with pytest.MonkeyPatch.context() as patch:
        repository = str(cache / "dinov2_model" / "facebookresearch_dinov2_main")
        patch.setattr(
            subject.torch.hub,
            "load",
            lambda repo_or_dir, model, **rest: (
                load(repository, model, source="local")
                if repo_or_dir == "facebookresearch/dinov2"
                else load(repo_or_dir, model, **rest)
            ),
        )
        VBenchLong(torch.device("cpu"), "", str(tmp_path / "out")).evaluate(
            videos_path=str(videos),
            name="official",
            dimension_list=names,
            local=True,
            mode="long_custom_input",
            static_filter_flag=False,
            use_semantic_splitting=False,
            dev_flag=True,
            sb_clip2clip_feat_extractor="dinov2",
            slow_fast_eval_config=str(config / "slow.yaml"),
            sb_mapping_file_path=str(config / "map.yaml"),
        )
    official = json.loads((tmp_path / "out" / "official_eval_results.json").read_text(encoding="utf-8"))
    for name in names:
        ours = np.mean([values(listing, film)[name] for film in ("moving", "still_one")])
        assert official[name][0] == pytest.approx(ours, abs=1e-6), name
    across = {Path(each["video_path"]).name: each["clip2clip_score"] for each in official["subject_consistency"][1]}
    assert across["moving-0.mp4"] == pytest.approx(values(listing, "moving")["subject_consistency_across_clips"])


def test_standard_mode_asks_what_the_prompt_is_for(tmp_path: Path, package: Package) -> None:
    known = {"appearance_style": {"appearance_style": "Van Gogh style"}}
    manner = Manner("standard", "cpu", {"": Asked(("appearance_style", "human_action"), known)})
    listing = listed(tmp_path, {"styled": still_and_moving(200, 1)})
    counts = look(listing, manner, package, ["appearance_style", "human_action", "scene"], "1/1", tmp_path / "work")
    got = values(listing, "styled")
    assert -1 < got["appearance_style"] < 1
    kept = json.loads((tmp_path / "views" / "vbench" / "clips" / "styled.json").read_text(encoding="utf-8"))
    assert [(clip["start"], clip["end"]) for clip in kept["clips"]] == [(0, 160), (40, 200)]
    assert [why for why in counts if "l16_ptk710" in why]
