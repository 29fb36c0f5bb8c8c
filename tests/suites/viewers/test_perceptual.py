import importlib
import json
import string
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.films import contract, view_files
from harness.films.contract import Act, Film, Span
from harness.films.view_files import Part
from suites.viewers import watching
from suites.viewers.perceptual import networks
from suites.viewers.perceptual import run as perceptual
from suites.viewers.perceptual.features import Features, features
from suites.viewers.perceptual.flow import Flow
from suites.viewers.perceptual.lpips_distance import Lpips
from suites.viewers.perceptual.networks import Encoder, Square, prepared
from suites.viewers.perceptual.similarity import mean_cosine
from suites.viewers.perceptual.weights import allow_torchvision
from tests.suites.filmed import texture, write

allow_torchvision()
transformers = importlib.import_module("transformers")

PICTURES = ("dino", "recall_dino", "recall_dino_chance", "clip", "clip_score", "clip_score_scene", "clip_old")
LONG = "a very long story of a red cube that nobody will ever read to its end"
# 10 seconds of 4 frames; the first 3 seconds are the beginning.
WINDOWS = (Span(0, 12, 3), Span(12, 21, 6), Span(21, 22, 7), Span(22, 40, 10))
ACTS = (
    Act(0, 14, 4, "a red cube", "start"),
    Act(14, 26, 7, LONG, "hardcut"),
    Act(26, 40, 10, "a red cube", "recall"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny networks with random weights, in folders as they are published."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    dino = transformers.Dinov2Config(**small, image_size=28, patch_size=14, initializer_range=0.3)
    transformers.Dinov2Model(dino).save_pretrained(root / "dino")
    # As many marks as there are, letters within and at the end of a word.
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {mark: number for number, mark in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(root / "clip")
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 20, "intermediate_size": 32, **small, **ends}
    image = {"image_size": 32, "patch_size": 16, "intermediate_size": 32, **small}
    clip = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=8)
    transformers.CLIPModel(clip).save_pretrained(root / "clip")
    seen = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    (root / "dino" / networks.PREPROCESSING).write_text(json.dumps(seen), encoding="utf-8")
    seen = {"size": 32, "crop_size": 32, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.3, 0.2, 0.1]}
    (root / "clip" / networks.PREPROCESSING).write_text(json.dumps(seen), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def shown():
    return [np.roll(texture(36, 48, number // 9), 3 * number, 1) for number in range(40)]


@pytest.fixture(scope="module")
def video(shown, tmp_path_factory):
    return write(tmp_path_factory.mktemp("films") / "video.mkv", shown)


@pytest.fixture
def film(video, tmp_path):
    """One film in a campaign's folder, listed."""
    path = tmp_path / "cells" / "one" / "video.mkv"
    path.parent.mkdir(parents=True)
    path.write_bytes(video.read_bytes())
    made = Film("one", path, contract.digest(path), "drift", "recall", 40, 4.0, 12, WINDOWS, ACTS)
    contract.write_films(tmp_path, [made])
    return made


def look(folder, models, *words):
    chosen = [] if "--metric" in words else [word for name in PICTURES for word in ("--metric", name)]
    networks_ = ["--dino", str(models / "dino"), "--clip", str(models / "clip")]
    perceptual.main([str(folder / "films.json"), *networks_, *chosen, *words])


def viewed(folder, name="one"):
    return view_files.read_view(view_files.view_path(folder, "perceptual", name))


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A machine without any downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def cosines(vectors, ones, others):
    """Mean over pairs, one by one."""
    found = [float(vectors[one] @ vectors[other]) for one in ones for other in others if one != other]
    return sum(found) / len(found)


def same(part, expected, off):
    assert [at for at, _ in part.samples] == [at for at, _ in expected]
    return [value for _, value in part.samples] == pytest.approx([value for _, value in expected], abs=off)


def test_every_value_is_the_mean_over_pairs_of_frames(film, models, shown, tmp_path):
    look(tmp_path, models)
    parts = viewed(tmp_path).parts
    first = [2, 6, 10]
    windows = {3: [2, 6, 10], 6: [14, 18], 7: [21], 10: [22, 26, 30, 34, 38]}
    acts = [[2, 6, 10], [14, 18, 22], [26, 30, 34, 38]]
    pixels = torch.from_numpy(np.stack(shown))

    network = transformers.Dinov2Model.from_pretrained(models / "dino").eval()
    square = Square(32, 28, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        dino = network(prepared(pixels, square)).last_hidden_state[:, 0]
    dino /= dino.norm(dim=-1, keepdim=True)
    expected = [(at, cosines(dino, frames, first)) for at, frames in windows.items()]
    assert same(parts["dino"], expected, 2e-6)
    assert len({round(value, 3) for _, value in expected}) == 4
    assert same(parts["recall_dino"], [(10, cosines(dino, acts[2], acts[0]))], 2e-6)
    assert same(parts["recall_dino_chance"], [(10, cosines(dino, acts[1], acts[0]))], 2e-6)

    network = transformers.CLIPModel.from_pretrained(models / "clip").eval()
    square = Square(32, 32, (0.5, 0.4, 0.3), (0.3, 0.2, 0.1))
    tokens = [transformers.CLIPTokenizer.from_pretrained(models / "clip")(act.prompt).input_ids for act in ACTS]
    assert [len(each) for each in tokens] == [10, 56, 10]
    with torch.no_grad():
        clip = network.get_image_features(prepared(pixels, square)).pooler_output
        # A long text is cut, and keeps its end mark.
        cut = [each if len(each) <= 20 else [*each[:19], each[-1]] for each in tokens]
        texts = [network.get_text_features(torch.tensor([each])).pooler_output[0] for each in cut]
    clip, texts = clip / clip.norm(dim=-1, keepdim=True), [text / text.norm() for text in texts]
    expected = [(at, cosines(clip, frames, first)) for at, frames in windows.items()]
    assert same(parts["clip"], expected, 2e-6)

    def score(frames, told):
        values = [100 * max(float(clip[frame] @ texts[told(frame)]), 0) for frame in frames]
        return sum(values) / len(values)

    scene = [0] * 14 + [1] * 12 + [2] * 14
    expected = [(at, score(frames, lambda frame: scene[frame])) for at, frames in windows.items()]
    assert same(parts["clip_score"], expected, 1e-4)
    assert any(value > 0 for _, value in expected)
    expected = [(act.at_frame, score(acts[number], lambda frame: scene[frame])) for number, act in enumerate(ACTS)]
    assert same(parts["clip_score_scene"], expected, 1e-4)
    expected = [(ACTS[new].at_frame, score(acts[new], lambda frame, new=new: new - 1)) for new in (1, 2)]
    assert same(parts["clip_old"], expected, 1e-4)


def test_one_scene_has_no_other_to_be_held_against(film, models, tmp_path):
    contract.write_films(tmp_path, [replace(film, acts=(Act(0, 40, 10, "a red cube", "start"),))])
    look(tmp_path, models)
    parts = viewed(tmp_path).parts
    for name in ("recall_dino", "recall_dino_chance", "clip_score_scene", "clip_old"):
        assert parts[name] == Part()
    assert [at for at, _ in parts["clip_score"].samples] == [3, 6, 7, 10]


def test_a_frame_is_never_compared_with_itself():
    vectors = np.eye(3, dtype=np.float32)
    seen = Features(np.array([5, 7, 9]), vectors)
    assert mean_cosine(seen, [5, 7], [5, 7]) == 0
    assert mean_cosine(seen, [5], [5]) is None
    seen = Features(np.array([5, 7]), vectors[[0, 0]])
    assert mean_cosine(seen, [5, 7], [5, 7]) == 1


def test_pictures_are_prepared_as_the_networks_were_published():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels = texture(300, 500)
    (expected,) = CLIPImageProcessorPil()(pixels, return_tensors="pt").pixel_values
    (found,) = prepared(torch.from_numpy(pixels)[None], networks.KINDS["clip"].square)
    # It rounds to whole values in 0..255 after scaling across, and again after scaling down.
    off = 255 * 0.26 * (found - expected).abs()
    assert found.shape == (3, 224, 224)
    assert off.max() < 2
    assert off.mean() < 0.5


def test_the_protocol_says_what_could_change_a_number(film, models, tmp_path):
    look(tmp_path, models)
    said = viewed(tmp_path).protocol
    assert set(said) == set(PICTURES)
    weights = models / "dino" / "model.safetensors"
    assert said["dino"]["files"]["model.safetensors"] == contract.digest(weights)
    assert set(said["dino"]["files"]) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert said["dino"]["versions"] == {"torch": torch.__version__, "transformers": transformers.__version__}
    assert (said["dino"]["model"], said["dino"]["device"]) == ("dino", "cpu")
    heard = said["clip_old"]["film"]
    assert (said["clip_old"]["tokens"], heard["prompts"], heard["prompts_cut"]) == (20, 2, 1)


def test_a_second_run_does_nothing(film, models, tmp_path, monkeypatch, capsys):
    look(tmp_path, models)
    assert capsys.readouterr().err == f"1/1 one: {', '.join(PICTURES)}\n"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(watching, "check", lambda film: pytest.fail("it was looked at again"))
    look(tmp_path, models)
    assert capsys.readouterr().err == "1/1 one: nothing to look at\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_video_is_looked_at_again_when_it_or_what_is_asked_changes(film, models, shown, tmp_path):
    look(tmp_path, models)
    first = viewed(tmp_path)
    asked = replace(film, windows=(Span(0, 12, 3), Span(12, 40, 10)))
    contract.write_films(tmp_path, [asked])
    look(tmp_path, models)
    second = viewed(tmp_path)
    assert [at for at, _ in second.parts["dino"].samples] == [3, 10]
    assert second.parts["dino"].samples[0] == first.parts["dino"].samples[0]
    write(film.path, shown[::-1])
    contract.write_films(tmp_path, [replace(asked, sha256=contract.digest(film.path))])
    look(tmp_path, models, "--metric", "dino")
    third = viewed(tmp_path)
    assert third.parts["dino"].samples != second.parts["dino"].samples
    # What was seen in the file that is gone went with it.
    assert set(third.parts) == {"dino"}


def test_another_network_is_another_way_of_looking(film, models, tmp_path):
    look(tmp_path, models, "--metric", "dino")
    torch.manual_seed(1)
    other = transformers.Dinov2Model(transformers.Dinov2Config.from_pretrained(models / "dino"))
    other.save_pretrained(tmp_path / "other" / "dino")
    before = viewed(tmp_path)
    look(tmp_path, models, "--metric", "dino", "--dino", str(tmp_path / "other" / "dino"))
    assert viewed(tmp_path).protocol["dino"]["files"] != before.protocol["dino"]["files"]
    assert viewed(tmp_path).parts["dino"] != before.parts["dino"]


def test_a_kill_costs_one_metric_of_one_video(film, models, tmp_path, monkeypatch, capsys):
    from suites.viewers.perceptual.similarity import Dino

    whole = Dino.look

    def killed(self, metric, film):
        if metric == "recall_dino_chance":
            raise KeyboardInterrupt
        return whole(self, metric, film)

    monkeypatch.setattr(Dino, "look", killed)
    with pytest.raises(SystemExit) as stopped:
        look(tmp_path, models)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "horizon: stopped\n"
    assert set(viewed(tmp_path).parts) == {"dino", "recall_dino"}
    monkeypatch.setattr(Dino, "look", whole)
    look(tmp_path, models)
    assert capsys.readouterr().err == f"1/1 one: {', '.join(PICTURES[2:])}\n"


def test_vectors_are_computed_once_a_video(film, models, tmp_path, monkeypatch):
    seen = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, pixels: seen.append(len(pixels)) or encode(self, pixels))
    encoder = Encoder("dino", str(models / "dino"), "cpu")
    made = features(film, encoder, tmp_path)
    assert made.frames.tolist() == [2, 6, 10, 14, 18, 21, 22, 26, 30, 34, 38]
    assert seen == [11]
    assert np.array_equal(features(film, encoder, tmp_path).vectors, made.vectors)
    assert seen == [11]
    # Of another file, for other frames, or where the kept ones are damaged, anew.
    features(replace(film, sha256="other"), encoder, tmp_path)
    features(replace(film, sha256="other", windows=WINDOWS[:2]), encoder, tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    again = features(film, encoder, tmp_path)
    assert seen == [11, 11, 10, 11]
    assert np.array_equal(again.vectors, made.vectors)


def test_what_is_not_on_this_machine_is_skipped_with_the_command_that_brings_it(
    film, alone, tmp_path, capsys, monkeypatch
):
    perceptual.main([str(tmp_path / "films.json")])
    parts = viewed(tmp_path).parts
    assert set(parts) == set(perceptual.METRICS)
    files = "config.json model.safetensors preprocessor_config.json"
    dino = f"needs facebook/dinov2-base; fetch it with: hf download facebook/dinov2-base {files}"
    by_dino = [name for name in perceptual.METRICS if "dino" in name]
    assert {parts[name].skipped for name in by_dino} == {dino}
    assert "hf download openai/clip-vit-large-patch14 config.json" in parts["clip_old"].skipped
    shown = capsys.readouterr().err
    assert f"{', '.join(by_dino)} skipped: {dino}\n" in shown
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    perceptual.main([str(tmp_path / "films.json"), "--metric", "dino"])
    assert viewed(tmp_path).parts["dino"].skipped == f"{dino} (HF_HUB_OFFLINE is set: unset it for that)"


def test_a_repository_is_found_in_the_cache_of_its_library(models, alone, tmp_path):
    home = tmp_path / "hub" / "models--owner--name"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc", encoding="utf-8")
    (home / "snapshots").mkdir()
    (home / "snapshots" / "abc").symlink_to(models / "dino")
    encoder = Encoder("dino", "owner/name", "cpu")
    assert encoder.remedy() is None
    assert encoder.identity()["model"] == "owner/name"
    assert encoder.encode(torch.zeros(1, 40, 30, 3, dtype=torch.uint8)).shape == (1, 16)
    (home / "refs" / "main").write_text("def", encoding="utf-8")
    assert "hf download owner/name" in Encoder("dino", "owner/name", "cpu").remedy()


def test_torchvision_weights_that_are_absent_name_their_place_and_command(alone, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules[Lpips.__module__], "lacking", lambda **packages: None)
    monkeypatch.setattr(sys.modules[Flow.__module__], "lacking", lambda **packages: None)
    place = tmp_path / "torch home" / "hub" / "checkpoints"
    for instrument, name in (
        (Lpips("cpu"), "alexnet-owt-7be5be79.pth"),
        (Flow("cpu", raft=True), "raft_large_C_T_SKHT_V2-ff5fadd5.pth"),
    ):
        command = (
            f"curl --fail --location --create-dirs --output '{place / name}' https://download.pytorch.org/models/{name}"
        )
        assert instrument.remedy().endswith(command)
        place.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
        assert instrument.remedy() is None
    assert Lpips("cpu", random=True).remedy() is None


def test_packages_that_are_absent_are_named(film, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    gone = ("cv2", "lpips", "torchvision")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest))
    look(tmp_path, tmp_path.parent, *(word for name in ("lpips", "flow") for word in ("--metric", name)), *hub())
    parts = viewed(tmp_path).parts
    assert (
        parts["lpips"].skipped
        == "needs lpips and torchvision; run nox -s perceptual, or: pip install lpips torchvision"
    )
    assert "pip install opencv-python-headless" in parts["flow"].skipped


def hub():
    return ("--dino", "facebook/dinov2-base", "--clip", "openai/clip-vit-large-patch14")


def test_what_was_seen_is_not_lost_where_it_cannot_be_seen_again(film, models, alone, tmp_path):
    look(tmp_path, models, "--metric", "dino")
    before = viewed(tmp_path)
    perceptual.main([str(tmp_path / "films.json"), "--metric", "dino", "--metric", "clip"])
    assert viewed(tmp_path).parts["dino"] == before.parts["dino"]
    assert "hf download" in viewed(tmp_path).parts["clip"].skipped
    look(tmp_path, models, "--metric", "clip")
    assert viewed(tmp_path).parts["clip"].samples


def test_a_damaged_video_does_not_stop_the_others(film, models, tmp_path, capsys):
    films = [film]
    for name, change in (
        ("short", lambda content: content[: len(content) // 2]),
        ("text", lambda content: b"not a video at all"),
    ):
        path = tmp_path / f"{name}.mkv"
        path.write_bytes(change(film.path.read_bytes()))
        films.insert(0, replace(film, id=name, path=path, sha256=contract.digest(path)))
    other, gone = tmp_path / "other.mkv", tmp_path / "gone.mkv"
    other.write_bytes(film.path.read_bytes())
    films.insert(0, replace(film, id="other", path=other, sha256="of another file"))
    films.insert(0, replace(film, id="gone", path=gone))
    contract.write_films(tmp_path, films)
    with pytest.raises(SystemExit) as stopped:
        look(tmp_path, models)
    assert stopped.value.code == 1
    said = {each.id: {part.skipped for part in viewed(tmp_path, each.id).parts.values()} for each in films}
    assert said.pop("one") == {""}
    words = {"short": "of 40", "text": "cannot be read as a video", "other": "changed after its cell was finished"}
    for name, reasons in said.items():
        (reason,) = reasons
        assert words.get(name, "No such file") in reason
    *lines, last = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["1/5 gone", "2/5 other", "3/5 text", "4/5 short", "5/5 one"]
    assert lines[1].startswith(f"2/5 other: nothing to look at; {', '.join(PICTURES)} skipped: ")
    assert last.startswith(f"horizon: {4 * len(PICTURES)} metrics of films failed")


def test_networks_that_cannot_be_used_say_why(film, models, tmp_path):
    def reason(folder, failed=True):
        with pytest.raises(SystemExit, match="1") if failed else nullcontext():
            look(tmp_path, models, "--metric", "dino", "--dino", str(folder))
        return viewed(tmp_path).parts["dino"].skipped

    assert "type 'clip'" in reason(models / "clip")
    broken = tmp_path / "broken"
    transformers.Dinov2Model.from_pretrained(models / "dino").save_pretrained(broken)
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-100])
    assert "cannot be loaded" in reason(broken)
    from safetensors.torch import load_file, save_file

    tensors = load_file(models / "dino" / "model.safetensors")
    tensors.pop("embeddings.cls_token")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 of the network's weights" in reason(broken)
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(weights)
    assert reason(broken, failed=False) == f"{broken}: has no model.safetensors"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--metric", "dinno"], "did you mean 'dino'"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--device", "tpu"], "--device: invalid choice"),
        (["--dino", "./no/such/folder"], "no such folder"),
        (["--wrong"], "unrecognized arguments: --wrong"),
        ([], "no such file"),
    ],
)
def test_a_mistake_in_the_request_is_one_line(words, told, film, tmp_path, capsys):
    if not words:
        (tmp_path / "films.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        perceptual.main([str(tmp_path / "films.json"), *words])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("horizon: ")
    assert told in line


def test_shards_look_at_different_films(film, models, tmp_path, capsys):
    films = [replace(film, id=f"film{number}") for number in range(3)]
    contract.write_films(tmp_path, films)
    look(tmp_path, models, "--metric", "dino", "--shard", "2/2")
    some = {view.film for _, view in view_files.views(tmp_path)}
    assert some
    assert some < {"film0", "film1", "film2"}
    look(tmp_path, models, "--metric", "dino", "--shard", "1/2")
    assert [view.film for _, view in view_files.views(tmp_path)] == ["film0", "film1", "film2"]


def test_metrics_are_declared_for_suites():
    suite = pytest.importorskip("harness.suite", reason="needs Horizon's other dependencies")
    made = {name: suite.Metric(*words) for name, words in perceptual.METRICS.items()}
    assert {metric.better for metric in made.values()} == {"higher", "lower", "neither"}
    assert made["dynamic"].low == 0


def test_the_command_starts_on_the_standard_library_alone():
    code = "import sys, suites.viewers.perceptual.run; print({'torch', 'numpy', 'av', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "set()\n"


class Faulty:
    """Sees one metric, and fails in other ways than those that it declares."""

    def __init__(self, **failures):
        self.failures, self.looked = failures, []

    def remedy(self):
        return self._fail("remedy")

    def protocol(self, metric, film):
        self._fail("protocol")
        return {}

    def look(self, metric, film):
        self.looked.append(film.id)
        return self._fail("look") or self._fail(film.id) or Part(((3, 0.5),))

    def _fail(self, where):
        failure = self.failures.get(where)
        if isinstance(failure, Exception):
            raise failure
        return failure


SMALL = RuntimeError("Calculated padded input size\nper channel: (1 x 1)")


def films_of(film, folder, names):
    films = []
    for name in names:
        path = folder / f"{name}.mkv"
        path.write_bytes(film.path.read_bytes())
        films.append(replace(film, id=name, path=path))
    return films


@pytest.mark.parametrize("where", ["look", "protocol", "remedy", "b"])
def test_what_goes_wrong_in_a_metric_of_a_film_is_its_own(film, tmp_path, capsys, where):
    films = films_of(film, tmp_path, "abc")
    # An instrument that cannot even say whether it can look fails when it looks.
    faulty = Faulty(**{where: SMALL}, **({"look": SMALL} if where == "remedy" else {}))
    by = {"lpips": faulty, "dino": Faulty(), "flow": Faulty(a=Part(((3, float("nan")),)))}
    count = perceptual.watch(tmp_path, films, ["lpips", "dino", "flow"], by)
    failed = {"b"} if where == "b" else {"a", "b", "c"}
    assert count == len(failed) + 1
    reason = "RuntimeError: Calculated padded input size per channel: (1 x 1)"
    for each in films:
        parts = viewed(tmp_path, each.id).parts
        assert parts["dino"].samples == ((3, 0.5),)
        assert parts["lpips"].skipped == (reason if each.id in failed else "")
    assert "gave nan at latent frame 3" in viewed(tmp_path, "a").parts["flow"].skipped
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert f"2/3 b: dino, flow; lpips skipped: {reason}" in lines
    # They are due again, and nothing else is.
    again = {name: Faulty() for name in by}
    assert perceptual.watch(tmp_path, films, list(by), again) == 0
    assert {name: each.looked for name, each in again.items()} == {"lpips": sorted(failed), "dino": [], "flow": ["a"]}


def test_a_view_that_is_damaged_costs_its_own_film(film, tmp_path, capsys):
    films = films_of(film, tmp_path, "ab")
    path = view_files.view_path(tmp_path, "perceptual", "a")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    assert perceptual.watch(tmp_path, films, ["dino"], {"dino": Faulty()}) == 1
    assert viewed(tmp_path, "b").parts["dino"].samples
    assert "1/2 a: " in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "{"


@pytest.mark.parametrize("size", [(30, 40), (40, 30)])
def test_a_film_that_is_too_small_for_lpips_has_no_lpips(film, models, tmp_path, monkeypatch, capsys, size):
    small = write(tmp_path / "small.mkv", [texture(*size, number) for number in range(40)])
    films = [replace(film, id="small", path=small, sha256=contract.digest(small)), film]
    contract.write_films(tmp_path, films)
    monkeypatch.setattr(Lpips, "remedy", lambda self: None)
    monkeypatch.setattr(Lpips, "protocol", lambda self, metric, film: {})
    monkeypatch.setattr(Lpips, "network", staticmethod(alexnet()))
    with pytest.raises(SystemExit) as stopped:
        look(tmp_path, models, "--metric", "lpips", "--metric", "dino")
    assert stopped.value.code == 1
    parts = viewed(tmp_path, "small").parts
    assert parts["lpips"].skipped == (
        f"{small}: {size[1]}x{size[0]} is too small for LPIPS, which needs 31 pixels a side"
    )
    assert parts["dino"].samples
    assert viewed(tmp_path).parts["lpips"].samples
    assert "1/2 small: dino; lpips skipped: " in capsys.readouterr().err


def alexnet():
    """The features of AlexNet, in their true shapes and with a few channels; a distance of them."""
    nn = torch.nn
    layers = nn.Sequential(
        nn.Conv2d(3, 2, 11, 4, 2), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 5, 1, 2), nn.MaxPool2d(3, 2),
        nn.Conv2d(2, 2, 3, 1, 1), nn.Conv2d(2, 2, 3, 1, 1),
    )  # fmt: skip
    return lambda ones, others: (layers(ones) - layers(others)).square().mean((1, 2, 3))


def test_the_smallest_picture_of_lpips_is_alexnets():
    network = alexnet()
    for small, large in (((30, 64), (31, 64)), ((64, 30), (64, 31))):
        assert network(*[torch.zeros(1, 3, *large)] * 2).shape == (1,)
        with pytest.raises(RuntimeError, match="too small"):
            network(*[torch.zeros(1, 3, *small)] * 2)
