"""The VBench viewer around a runner that is made up: what it asks for, keeps, skips and refuses."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells, manifest
from harness.campaign.film_list import list_films
from harness.engines.inline import run as execute
from harness.errors import CheckpointError, StoreError, TreeError
from harness.files import digest
from harness.films.contract import Act, Film, Span, read_films, write_films
from harness.films.view_files import read_view, view_path
from harness.store.store import Store
from reports.tables import tidy
from suites.viewers.vbench import dimensions as vbench_dimensions
from suites.viewers.vbench import run as vbench
from suites.viewers.vbench.checkout import Asked, check_checkout, read_prompts
from suites.viewers.vbench.clips import write
from suites.viewers.vbench.run import Manner, look, main
from suites.viewers.vbench.scores import COMMIT, combined

CUSTOM = Manner("custom", "cpu")


class Fake:
    """Scores clip n with n steps, and remembers what it was asked."""

    def __init__(self, fails=(), step=0.1):
        self.asked, self.fails, self.step = [], list(fails), step

    def clips(self, dimension, clips, prompt, known, still):
        self.asked.append((dimension, clips[0].name.rsplit("_", 1)[0], len(clips), prompt, dict(known), still))
        assert all(path.is_file() for path in clips)
        if self.fails and (failure := self.fails.pop(0)):
            raise failure
        return [number * self.step for number in range(len(clips))]

    def across(self, dimension, first_frames):
        self.asked.append((dimension, "across", first_frames.is_file()))
        return 0.5


def campaign(folder, names=("a_1", "b"), frames=40, prompt="a thing", vbench=""):
    films = []
    for seed, name in enumerate(names):
        path = folder / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, np.random.default_rng(seed).integers(0, 255, (frames, 16, 32, 3), dtype=np.uint8), 8)
        acts = (Act(0, frames, 10, prompt, "smooth"),)
        windows = (Span(0, frames, 10),)
        films.append(Film(name, path, digest(path), "drift", "steady", frames, 8.0, 8, windows, acts, vbench))
    return write_films(folder, films)


def run(listing, runner, dimensions, manner=CUSTOM, which="1/1"):
    return look(listing, manner, runner, dimensions, which, listing.parent / ".vbench")


def view(listing, name):
    return read_view(view_path(listing.parent, "vbench", name))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """All weights, as files of a few bytes."""
    home = tmp_path / "cache"
    for needs in vbench_dimensions.WEIGHTS.values():
        for need in needs:
            (home / need.path).parent.mkdir(parents=True, exist_ok=True)
            if "." in Path(need.path).name:
                (home / need.path).write_text(need.path, encoding="utf-8")
            else:
                (home / need.path).mkdir(exist_ok=True)
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(home))
    vbench_dimensions._fingerprint.cache_clear()
    return home


def test_the_value_of_a_video_is_the_mean_over_its_clips(tmp_path):
    listing, runner = campaign(tmp_path), Fake()
    assert dict(run(listing, runner, ["temporal_flickering"])) == {"": 2}
    assert view(listing, "b").parts["temporal_flickering"].samples == ((10, pytest.approx(0.1)),)
    kept = json.loads((tmp_path / "views" / "vbench" / "clips" / "a_1.json").read_text(encoding="utf-8"))
    assert kept["scores"] == {"temporal_flickering": pytest.approx([0.0, 0.1, 0.2])}
    assert [(clip["start"], clip["end"]) for clip in kept["clips"]] == [(0, 16), (16, 32), (24, 40)]
    # No underscore where VBench-Long would cut the name.
    assert [name for _, name, *_ in runner.asked] == [vbench.plain_name("a_1"), "b"]
    assert not any("_" in name for _, name, *_ in runner.asked)


def test_consistency_comes_in_three_numbers(tmp_path, cache):
    listing, runner = campaign(tmp_path, ["b"]), Fake()
    run(listing, runner, ["subject_consistency"])
    parts = view(listing, "b").parts
    # The values of the clips, whose last one borrows frames, at their ends.
    assert parts.pop("subject_consistency_in_clip_over_time").samples == ((4, 0.0), (8, 0.1), (10, 0.2))
    assert {name: part.samples[0][1] for name, part in parts.items()} == {
        "subject_consistency_in_clip": pytest.approx(0.1),
        "subject_consistency_across_clips": 0.5,
        "subject_consistency": pytest.approx(combined("subject_consistency", 0.1, 0.5)),
    }
    assert runner.asked[1] == ("subject_consistency", "across", True)


def test_one_clip_cannot_be_compared_with_others(tmp_path, cache):
    listing, runner = campaign(tmp_path, ["b"], frames=16), Fake()
    run(listing, runner, ["subject_consistency"])
    parts = view(listing, "b").parts
    assert parts["subject_consistency_across_clips"].samples == ((10, None),)
    assert parts["subject_consistency"].samples == parts["subject_consistency_in_clip"].samples
    assert len(runner.asked) == 1


def test_what_was_looked_at_is_not_looked_at_again(tmp_path, cache):
    listing, killed = campaign(tmp_path), Fake([None, None, KeyboardInterrupt()])
    dimensions = ["temporal_flickering", "motion_smoothness"]
    with pytest.raises(KeyboardInterrupt):
        run(listing, killed, dimensions)
    again = Fake()
    assert dict(run(listing, again, dimensions)) == {"": 2}
    assert [dimension for dimension, *_ in again.asked] == ["motion_smoothness"] * 2
    assert not run(listing, Fake(), dimensions)
    kept = json.loads((tmp_path / "views" / "vbench" / "clips" / "b.json").read_text(encoding="utf-8"))
    assert set(kept["scores"]) == set(dimensions)


def test_other_weights_are_another_look(tmp_path, cache):
    listing = campaign(tmp_path, ["b"])
    run(listing, Fake(), ["motion_smoothness"])
    (cache / "amt_model" / "amt-s.pth").write_text("others", encoding="utf-8")
    vbench_dimensions._fingerprint.cache_clear()
    runner = Fake()
    run(listing, runner, ["motion_smoothness"])
    assert len(runner.asked) == 1


def test_the_record_says_how_it_was_looked(tmp_path, cache):
    listing = campaign(tmp_path, ["b"])
    run(listing, Fake(), ["imaging_quality"])
    record = view(listing, "b").protocol["imaging_quality"]
    weights = cache / "pyiqa_model" / "musiq_spaq_ckpt-358bb6af.pth"
    assert record["weights"] == {"pyiqa_model/musiq_spaq_ckpt-358bb6af.pth": digest(weights)}
    assert (record["mode"], record["film"]["clip_seconds"], record["device"], record["checkout"]) == (
        "custom",
        2,
        "cpu",
        None,
    )
    assert record["parameters"] == {"imaging_quality_preprocessing_mode": "longer"}
    assert record["tables"] == digest(Path(vbench.__file__).parent / "tables" / "long.json")
    assert set(record["packages"]) == set(vbench_dimensions.PACKAGES)


def test_missing_weights_are_skipped_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    home = tmp_path / "nothing"
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(home))
    listing, runner = campaign(tmp_path, ["b"]), Fake()
    counts = run(listing, runner, ["motion_smoothness", "subject_consistency"])
    assert not runner.asked
    assert counts[""] == 0
    parts = view(listing, "b").parts
    assert parts["motion_smoothness"].skipped == (
        f"{home}/amt_model/amt-s.pth is missing; fetch it with: mkdir -p {home}/amt_model && "
        f"wget -P {home}/amt_model https://huggingface.co/lalala125/AMT/resolve/main/amt-s.pth"
    )
    assert "git clone https://github.com/facebookresearch/dino " in parts["subject_consistency_in_clip"].skipped
    assert "dinov2_vitb14_pretrain.pth" in parts["subject_consistency"].skipped
    assert not any(part.samples for part in parts.values())
    assert not home.exists()


def test_every_need_has_a_command_and_zips_are_fetched_once(tmp_path, monkeypatch):
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path))
    for metric, needs in vbench_dimensions.WEIGHTS.items():
        advice = vbench_dimensions.remedy(metric, "standard")
        assert all(str(tmp_path / need.path) in advice or "dreamsim_model" in need.path for need in needs)
        assert "{" not in advice
    assert vbench_dimensions.remedy("background_consistency", "custom").count("unzip") == 1
    assert "raft-things.pth" in vbench_dimensions.remedy("temporal_flickering", "standard")
    assert not vbench_dimensions.remedy("temporal_flickering", "custom")


def test_detectron2_has_to_be_built(cache):
    assert importlib.util.find_spec("detectron2") is None
    assert "detectron2.git" in vbench_dimensions.remedy("object_class", "standard")
    assert "detectron2" not in vbench_dimensions.remedy("human_action", "standard")


def test_shards_share_the_videos(tmp_path):
    listing = campaign(tmp_path, ("a", "b", "c"))
    seen = []
    for which in ("1/2", "2/2"):
        runner = Fake()
        run(listing, runner, ["temporal_flickering"], which=which)
        seen.append([name for _, name, *_ in runner.asked])
    assert sorted(seen[0] + seen[1]) == ["a", "b", "c"]
    assert all(seen)
    with pytest.raises(StoreError, match="K/N"):
        run(listing, Fake(), ["temporal_flickering"], which="3/2")


def test_what_was_seen_is_not_replaced_by_why_it_cannot_be_seen_now(tmp_path, monkeypatch):
    listing = campaign(tmp_path, ("a",))
    run(listing, Fake(), ["temporal_flickering"])
    before = view(listing, "a")
    monkeypatch.setattr(vbench_dimensions, "versions", lambda: {"vbench": "another"})
    counts = run(listing, Fake([RuntimeError("no memory left")]), ["temporal_flickering"])
    assert counts == {"RuntimeError: no memory left": 1}
    assert view(listing, "a") == before


def test_a_damaged_video_does_not_stop_the_others(tmp_path):
    listing = campaign(tmp_path, ("a", "b", "c"))
    (tmp_path / "videos" / "a.mp4").write_bytes(b"not a video")
    counts = run(listing, Fake([RuntimeError("no memory left")]), ["temporal_flickering"])
    assert counts[""] == 1
    assert "cannot be read as a video" in view(listing, "a").parts["temporal_flickering"].skipped
    assert view(listing, "b").parts["temporal_flickering"].skipped == "RuntimeError: no memory left"
    assert view(listing, "c").parts["temporal_flickering"].samples
    # Both are due again.
    assert run(listing, Fake(), ["temporal_flickering"]).total() == 2


def test_a_number_that_is_none_is_not_kept(tmp_path):
    listing = campaign(tmp_path, ["b"])
    assert not run(listing, Fake(step=float("nan")), ["temporal_flickering"])[""]
    part = view(listing, "b").parts["temporal_flickering"]
    assert not part.samples
    assert "not finite" in part.skipped


def test_standard_mode_asks_what_the_prompt_is_for(tmp_path, cache):
    known = {"appearance_style": {"appearance_style": "watercolor painting"}}
    prompts = {"a cup": Asked(("appearance_style", "temporal_flickering", "human_action"), known)}
    listing, runner = campaign(tmp_path / "suite", ["b"], prompt="a cup"), Fake()
    standard = Manner("standard", "cpu", prompts)
    run(listing, runner, ["appearance_style", "temporal_flickering", "motion_smoothness"], standard)
    # 40 frames at 8 a second are less than the 10 s that human_action asks for: one clip.
    assert runner.asked == [
        ("appearance_style", "a cup-b", 1, "a cup", known, False),
        ("temporal_flickering", "a cup-b", 1, "a cup", known, True),
    ]
    assert view(listing, "b").protocol["appearance_style"]["checkout"] == COMMIT
    other = campaign(tmp_path / "other", ["b"])
    counts = run(other, Fake(), ["appearance_style"], standard)
    remedy = 'name VBench\'s own in its record as "vbench", or write --mode custom'
    assert dict(counts) == {f"'a thing' is none of VBench's prompts; {remedy}": 1}


EXTENDED = "A white porcelain cup; steam rises from it | 35mm"


def test_an_extended_prompt_is_scored_by_the_words_of_vbench(tmp_path, cache):
    """Known, cut and scored as the prompt that it stands for, by which the list names dimensions."""
    known = {"object_class": {"object": "cup"}}
    standard = Manner("standard", "cpu", {"a cup": Asked(("temporal_flickering",), known)})
    listing, runner = campaign(tmp_path / "told", ["b"], prompt=EXTENDED, vbench="a cup"), Fake()
    assert dict(run(listing, runner, ["temporal_flickering", "scene"], standard)) == {"": 1}
    assert runner.asked == [("temporal_flickering", "a cup-b", 3, "a cup", known, True)]
    counts = run(campaign(tmp_path / "not", ["b"], prompt=EXTENDED), Fake(), ["temporal_flickering"], standard)
    assert f"{EXTENDED!r} is none of VBench's prompts; name VBench's own" in next(iter(counts))
    other = campaign(tmp_path / "other", ["b"], prompt="a cup", vbench="a cap")
    counts = run(other, Fake(), ["temporal_flickering"], standard)
    remedy = 'correct "vbench" in its prompt\'s record, or write --mode custom'
    assert dict(counts) == {f"'a cap' is none of VBench's prompts; {remedy}": 1}


def test_lists_of_films_from_before_know_no_words_of_vbench(tmp_path):
    listing = campaign(tmp_path, ["b"], vbench="a cup")
    content = json.loads(listing.read_text(encoding="utf-8"))
    assert content["films"][0].pop("vbench") == "a cup"
    listing.write_text(json.dumps(content), encoding="utf-8")
    (film,) = read_films(listing)
    assert film.vbench == ""


def test_from_a_record_to_a_score(tmp_path, cache):
    """The model reads the extended prompt; a viewer gets both prompts."""
    backbone = registry.backbone("pocket")
    text, backbone.name, backbone.world, heard = backbone.text, "self-forcing", None, []
    backbone.text = lambda prompts: heard.extend(prompts) or text(["a thing"] * len(prompts))
    (tmp_path / "p.csv").write_text(f'prompt,vbench,frames\n"{EXTENDED}",a cup,24\n', encoding="utf-8")
    asked = make_campaign({"strategies": ["sliding_window"], "suites": ["drift"], "equal_budget": 0, "tier": "gate",
                           "prompts": str(tmp_path / "p.csv")})  # fmt: skip
    planned, store = cells(asked, backbone), Store(tmp_path / "run")
    store.begin(manifest(asked, backbone, planned, "run"))
    execute(store, backbone, planned)
    assert set(heard) == {EXTENDED}
    (cell,) = store.cells()
    assert (cell.status, cell.about["task"]["rows"][0]["vbench"]) == ("ok", "a cup")
    listing, _ = list_films(store)
    (film,) = read_films(listing)
    assert (film.vbench, film.acts[0].prompt) == ("a cup", EXTENDED)
    runner = Fake()
    run(listing, runner, ["temporal_flickering"], Manner("standard", "cpu", {"a cup": Asked(("temporal_flickering",))}))
    assert [prompt for *_, prompt, _, _ in runner.asked] == ["a cup"]
    scored = tidy(store)
    assert set(scored["prompt"]) == {EXTENDED}
    assert "temporal_flickering" in set(scored["metric"])


def checkout(folder, commit=COMMIT):
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
    return folder


def test_a_checkout_is_checked_without_git(tmp_path):
    check_checkout(checkout(tmp_path / "detached"))
    branch = checkout(tmp_path / "branch", "ref: refs/heads/pinned")
    with pytest.raises(TreeError, match="no checkout of VBench"):
        check_checkout(branch)
    (branch / ".git" / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/pinned\n", encoding="utf-8")
    check_checkout(branch)
    (branch / ".git" / "refs" / "heads").mkdir(parents=True)
    (branch / ".git" / "refs" / "heads" / "pinned").write_text("0" * 40, encoding="utf-8")
    with pytest.raises(TreeError, match="at 000000000000, not at 45e79ec14e69"):
        check_checkout(branch)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text(f"gitdir: {tmp_path / 'detached' / '.git'}\n", encoding="utf-8")
    check_checkout(tmp_path / "tree")


def test_prompts_that_stand_twice_are_put_together(tmp_path):
    place = checkout(tmp_path)
    with pytest.raises(TreeError, match=r"has no vbench/VBench_full_info\.json"):
        read_prompts(place)
    listed = [
        {"prompt_en": "a", "dimension": ["appearance_style"], "auxiliary_info": {"appearance_style": {"x": "y"}}},
        {"prompt_en": "a", "dimension": ["imaging_quality"]},
    ]
    (place / "VBench_full_info.json").write_text(json.dumps(listed), encoding="utf-8")
    asked = Asked(("appearance_style", "imaging_quality"), {"appearance_style": {"x": "y"}})
    assert read_prompts(place) == {"a": asked}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--dimension", "motion_smothness"], "did you mean 'motion_smoothness'"),
        (["--dimension", "scene"], "not one of custom mode"),
        (["--checkout", "nowhere"], f"git -C nowhere checkout {COMMIT}"),
        (["--mode", "standard"], "git clone https://github.com/Vchitect/VBench VBench ; "),
        ([], "vbench is not installed here"),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path, monkeypatch, capsys, words, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "vbench", None)
    monkeypatch.setattr(vbench, "find_spec", lambda name: None)
    assert main(["films.json", *words]) == 2
    out, err = capsys.readouterr()
    assert line in err
    assert err.count("\n") == 1
    assert not out


def test_the_command_tells_what_it_did(tmp_path, monkeypatch, capsys):
    listing = campaign(tmp_path, ["b"])
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(vbench, "find_spec", lambda name: name)
    made = []

    class Module:
        @staticmethod
        def Package(device, work):  # noqa: N802
            made.append((device, work))
            return Fake()

    monkeypatch.setitem(sys.modules, "suites.viewers.vbench.runner", Module)
    words = ["--dimension", "temporal_flickering", "--dimension", "dynamic_degree"]
    assert main([str(listing), *words]) == 0
    assert made == [("cpu", tmp_path / ".vbench")]
    out = capsys.readouterr().out
    assert "b temporal_flickering: 0.1" in out
    assert "1 looked at, 1 skipped\n1 skipped: " in out
    assert "raft-things.pth is missing; fetch it with: " in out


@pytest.mark.parametrize("variable", ["VBENCH_CACHE_DIR", "HF_HUB_CACHE"])
def test_a_user_without_a_home_is_told_which_folder_to_name(monkeypatch, tmp_path, variable):
    for name in ("VBENCH_CACHE_DIR", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in (variable, "HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nowhere(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(vbench_dimensions.Path, "expanduser", nowhere)
    with pytest.raises(CheckpointError, match=f"no home folder .*; set {variable} to a folder, or HOME"):
        vbench_dimensions.remedy("overall_consistency", "custom") + vbench_dimensions.remedy("color", "standard")


@pytest.fixture
def viewer(monkeypatch):
    """The command, with a runner that is made up."""
    monkeypatch.setattr(vbench, "find_spec", lambda name: name)

    def run(listing, runner, *dimensions):
        class Module:
            @staticmethod
            def Package(device, work):  # noqa: N802
                return runner

        monkeypatch.setitem(sys.modules, "suites.viewers.vbench.runner", Module)
        return main([str(listing), *(word for name in dimensions for word in ("--dimension", name))])

    return run


def test_the_exit_code_says_that_a_metric_of_a_film_failed(tmp_path, cache, viewer, capsys):
    listing = campaign(tmp_path, ("a", "b"))
    names = ("temporal_flickering", "motion_smoothness")
    assert viewer(listing, Fake([RuntimeError("no\nmemory\x1b[2J")]), *names) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "a temporal_flickering: RuntimeError: no memory\\x1b[2J",
        "horizon: 1 metrics of films failed, as said above; the same command tries them again",
    ]
    assert "3 looked at, 1 skipped" in out
    assert view(listing, "a").parts["motion_smoothness"].samples
    assert viewer(listing, Fake(), *names) == 0
    assert view(listing, "a").parts["temporal_flickering"].samples


def test_a_number_that_is_none_fails(tmp_path, cache, viewer):
    class Endless(Fake):
        def across(self, dimension, first_frames):
            return float("inf")

    assert viewer(campaign(tmp_path / "x", ["b"]), Fake(step=float("nan")), "temporal_flickering") == 1
    listing = campaign(tmp_path / "y", ["b"])
    assert viewer(listing, Endless(), "subject_consistency") == 1
    parts = view(listing, "b").parts
    assert "not finite" in parts["subject_consistency_across_clips"].skipped
    assert parts["subject_consistency_in_clip"].samples


def test_what_cannot_be_read_of_one_film_does_not_stop_the_others(tmp_path, viewer, capsys):
    listing = campaign(tmp_path, ("a", "b"))
    path = view_path(tmp_path, "vbench", "a")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    clips = tmp_path / "views" / "vbench" / "clips" / "b.json"
    clips.parent.mkdir()
    clips.write_text("[", encoding="utf-8")
    assert viewer(listing, Fake(), "temporal_flickering") == 1
    assert "a temporal_flickering: " in capsys.readouterr().err
    assert view(listing, "b").parts["temporal_flickering"].samples
    assert json.loads(clips.read_text(encoding="utf-8"))["scores"]


def test_weights_that_cannot_be_read_are_the_fault_of_their_metric(tmp_path, cache, viewer, monkeypatch):
    listing = campaign(tmp_path, ["b"])

    def fingerprints(metric, mode):
        if metric == "motion_smoothness":
            raise PermissionError(13, "Permission denied", "amt-s.pth")
        return {}

    monkeypatch.setattr(vbench_dimensions, "fingerprints", fingerprints)
    assert viewer(listing, Fake(), "motion_smoothness", "temporal_flickering") == 1
    assert view(listing, "b").parts["temporal_flickering"].samples


def test_ctrl_c_is_one_line(tmp_path, viewer, capsys):
    assert viewer(campaign(tmp_path, ["b"]), Fake([KeyboardInterrupt()]), "temporal_flickering") == 130
    assert capsys.readouterr().err == "horizon: stopped\n"
