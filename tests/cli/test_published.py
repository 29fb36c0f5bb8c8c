"""Published backbones as typed: from files of the published formats to films, a report, and back after a kill."""

import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pandas as pd
import pytest
import torch

from harness import cli
from harness.errors import StoreError
from harness.films.writer import read_about
from tests import published
from tests.backbone.published.test_backbones import Malicious
from tests.zygote import run

HORIZON = [sys.executable, "-m", "harness.cli"]
SIZE = "x".join(map(str, published.SIZE))
PROMPTS = [
    {"id": "one", "prompts": ["a red fox walks through the snow"], "frames": 27},
    {"id": "back", "script": "a fox in the snow [9f#] | a lamp on a table [9f@] | the fox is back [9f]"},
]


def environment(tmp_path):
    return os.environ | {
        "COLUMNS": "160",
        "HORIZON_CACHE": str(tmp_path / "cache"),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
    }


def horizon(*words, cwd, code=0):
    done = run([*HORIZON[1:], *map(str, words)], cwd=cwd, env=environment(cwd), timeout=500, models=True)
    assert done.returncode == code, done.stderr or done.stdout
    return done.stderr if code == 2 else done.stdout


def asked(weights, folder, name="self-forcing"):
    (folder / "prompts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in PROMPTS), encoding="utf-8")
    return (
        *(
            "run",
            "--backbone",
            name,
            "--weights",
            weights,
            "--size",
            SIZE,
            "--prompts",
            "prompts.jsonl",
            "--tier",
            "gate",
        ),
        *("--suite", "drift", "--suite", "interactive", "--strategy", "attention_sink", "--strategy", "sliding_window"),
        # In bfloat16 the VAE takes ten times as long on a processor that emulates it.
        *("--lossless", "--threads", "1", "--dtype", "float32"),
    )


def frames(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.fixture
def here(tmp_path, monkeypatch, own_cache, capsys):
    """The command in this process, for what ends before anything is drawn: its exit code, and what it said."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["horizon", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code, told.err or told.out

    return call


@pytest.fixture(scope="module")
def ran(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "films.toml").write_text("equal_budget = 0\n", encoding="utf-8")
    words = asked(weights, folder)
    said = horizon(words[0], "films.toml", *words[1:], "--out", "c", cwd=folder)
    return folder, said


def test_a_run_ends_in_films_and_a_report(ran):
    folder, said = ran
    assert said.splitlines()[-1] == "c: 4 ok"
    films = {path: len(frames(path)) for path in (folder / "c/cells").rglob("0.mp4")}
    assert sorted(films.values()) == [105, 105, 105, 105]
    for path in films:
        lossless = frames(path.with_suffix(".mkv"))
        assert lossless.shape == (105, *published.SIZE, 3)
        about = read_about(path)
        cell = json.loads((path.parents[1] / "cell.json").read_text(encoding="utf-8"))
        assert about["cell"] == path.parents[1].name
        # A film is the same file in whichever folder it is made: what viewers saw of it is kept where folders merge.
        assert "campaign" not in about
        assert (about["strategy"], about["seed"]) == (cell["strategy"], cell["task"]["rows"][0]["seed"])
        assert about["prompt"].startswith(cell["task"]["rows"][0]["script"][0][1])
    assert not list((folder / "c/flight").glob("*.files"))
    horizon("compare", "c", cwd=folder)
    report = (folder / "c/report.md").read_text(encoding="utf-8")
    assert "PSNR (dB)" in report
    assert "draws the same prompts with the same noise" in report
    table = pd.read_parquet(folder / "c/records.parquet")
    assert set(table["scenario"]) == {"steady", "recall"}
    beginning = table[(table["metric"] == "psnr") & (table["at_frame"] == 21)]["value"]
    assert len(beginning) == 4
    manifest = json.loads((folder / "c/manifest.json").read_text(encoding="utf-8"))
    (environment,) = manifest["environments"].values()
    assert len(environment["files"]["checkpoints/self_forcing_dmd.pt"]) == 64


def test_strategies_share_the_noise_until_they_remember_different_things(ran):
    folder, _ = ran
    by_strategy = {}
    for path in (folder / "c/cells").rglob("0.mkv"):
        cell = json.loads((path.parents[1] / "cell.json").read_text(encoding="utf-8"))
        if cell["task"]["scenario"] == "steady":
            by_strategy[cell["strategy"]] = frames(path)
    sink, window = by_strategy["attention_sink"].astype(int), by_strategy["sliding_window"].astype(int)
    assert (sink[:45] == window[:45]).all()
    assert (sink[60:] != window[60:]).any()


def test_films_are_listed_for_viewers(ran):
    folder, _ = ran
    told = json.loads(horizon("films", "c", "--json", cwd=folder))
    assert len(told["films"]) == 4
    listed = json.loads((folder / "c/films.json").read_text(encoding="utf-8"))["films"]
    back = next(film for film in listed if film["scenario"] == "recall")
    assert [(act["start"], act["end"], act["boundary"]) for act in back["acts"]] == [
        (0, 33, "smooth"),
        (33, 69, "hardcut"),
        (69, 105, "recall"),
    ]
    assert [(span["start"], span["end"], span["at_frame"]) for span in back["windows"]] == [(0, 81, 21), (81, 105, 27)]
    assert (back["frames"], back["rate"], back["reference"]) == (105, 16.0, 81)
    assert back["path"].endswith("files/0.mkv")


@pytest.mark.usefixtures("undrawn")
def test_what_a_viewer_saw_is_in_the_report(ran):
    from harness.campaign.film_list import list_films
    from harness.films.view_files import Part, add, seen
    from harness.store.store import Store
    from reports.report import render

    folder, _ = ran
    store = Store(folder / "c")
    _, films = list_films(store)
    for number, film in enumerate(films):
        view = seen(store.folder, "perceptual", film)
        samples = tuple((span.at_frame, 0.9 - 0.01 * number) for span in film.windows)
        view = add(store.folder, "perceptual", view, "dino", Part(samples), {"model": "tiny", "film": number})
        add(store.folder, "perceptual", view, "lpips", Part(skipped="no weights; fetch them"), {})
    render(folder / "c")
    report = (folder / "c/report.md").read_text(encoding="utf-8")
    assert "| DINO, n=1 |" in report
    assert "skipped: lpips: no weights; fetch them" in report
    assert '- perceptual, dino: `{"model": "tiny"}`' in report
    # Another way to look does not go together with it.
    add(
        store.folder,
        "perceptual",
        seen(store.folder, "perceptual", films[0]),
        "dino",
        Part(((21, 0.1),)),
        {"model": "big"},
    )
    with pytest.raises(StoreError, match="has different protocols in"):
        render(folder / "c")
    # A film that was made again is not what was looked at.
    for film in films:
        cell = film.path.parents[1] / "cell.json"
        about = json.loads(cell.read_text(encoding="utf-8"))
        about["files"][film.path.name] = "0" * 64
        cell.write_text(json.dumps(about), encoding="utf-8")
    render(folder / "c")
    assert "| DINO" not in (folder / "c/report.md").read_text(encoding="utf-8")


@pytest.mark.nightly
def test_a_killed_film_goes_on_and_ends_with_the_same_pictures(ran, weights):
    folder, _ = ran
    steady = [str(word) for word in asked(weights, folder)[1:]]
    place = steady.index("interactive")
    del steady[place - 1 : place + 1]
    words = [*HORIZON, "run", "films.toml", *steady, "--out", "k", "--save-every", "0"]
    process = subprocess.Popen(words, cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list((folder / "k").glob("flight/*.files/0.0002.part.mkv")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = (folder / "k").glob("flight/*.files")
    # Whatever is there can be played.
    assert len(frames(left / "0.0000.part.mp4")) in (9, 12)
    assert horizon(*words[len(HORIZON) :], cwd=folder).splitlines()[-1] == "k: 2 ok"
    for again in (folder / "k/cells").rglob("0.mkv"):
        path = folder / "c" / again.relative_to(folder / "k")
        assert (frames(again) == frames(path)).all()
        assert (again.parents[1] / "record.jsonl").read_bytes() == (path.parents[1] / "record.jsonl").read_bytes()
    assert not list((folder / "k/cells").rglob("*.part.*"))


def test_longlive_runs_to_a_film(weights, tmp_path):
    words = ("--backbone", "longlive", "--weights", weights, "--size", SIZE, "--strategy")
    said = horizon(
        "sample",
        "a fox [1.5s] | a den [1.5s]",
        *words,
        "attention_sink.on_switch=recache",
        "--out",
        "f.mp4",
        cwd=tmp_path,
    )
    assert "f.mp4" in said
    assert len(frames(tmp_path / "f.mp4")) == 45
    assert (tmp_path / "f.png").exists()


@pytest.mark.nightly
def test_a_frame_wise_model_from_one_of_two_containers(weights, tmp_path):
    """As Causal-Forcing publishes its own: the last weights and their average, drawn frame by frame."""
    own = shutil.copytree(weights, tmp_path / "own")
    state = published.model().state_dict()
    content = {"generator": {f"model.{name}": x + 0.1 for name, x in state.items()}, "generator_ema": state}
    torch.save(content, own / "checkpoints/self_forcing_dmd.pt")
    published.sums(own)
    (tmp_path / "films.toml").write_text('chunk = 1\ncontainer = "generator"\nequal_budget = 0\n', encoding="utf-8")
    (tmp_path / "p.jsonl").write_text('{"prompts": ["a fox"], "frames": 22}\n', encoding="utf-8")
    words = ("run", "films.toml", "--backbone", "self-forcing", "--weights", own, "--size", SIZE, "--suite", "drift")
    words = (*words, "--prompts", "p.jsonl", "--strategy", "sliding_window", "--threads", "1", "--out", "c")
    assert horizon(*words, cwd=tmp_path).splitlines()[-1] == "c: 1 ok"
    assert [len(frames(path)) for path in (tmp_path / "c").rglob("0.mp4")] == [4 * 22 - 3]
    (told,) = json.loads((tmp_path / "c/manifest.json").read_text(encoding="utf-8"))["environments"].values()
    assert (told["container"], told["chunk"]) == ("generator", 1)
    # The other container of the same file is another model, and a folder has one.
    said = horizon(*words, "--container", "generator_ema", cwd=tmp_path, code=2)
    assert len(said.splitlines()) == 1
    assert "weights" in said
    said = horizon(*words, "--container", "ema", cwd=tmp_path, code=2)
    assert "no container 'ema'; it has generator, generator_ema: choose with --container NAME" in said
    assert "frames are not whole chunks of 3" in horizon(*words, "--chunk", "3", cwd=tmp_path, code=2)


@pytest.mark.parametrize("name", ["self-forcing", "longlive"])
def test_without_weights_it_says_what_to_do(tmp_path, here, name):
    code, said = here("run", "--backbone", name)
    assert code == 2
    assert len(said.splitlines()) == 1
    assert "files are missing; looked in the Hugging Face cache" in said
    assert re.search(r"hf download \S+ --revision [0-9a-f]{40}", said)
    assert "HF_HUB_OFFLINE is set" in said
    assert list(tmp_path.iterdir()) == []


def test_describe_says_what_is_there_and_what_is_missing(weights, here):
    code, said = here("describe", "longlive")
    assert code == 0
    assert said.count("missing") == 16
    assert "hf download Efficient-Large-Model/LongLive-1.3B --revision" in said
    _, said = here("describe", "longlive", "--weights", weights)
    assert "All there" in said
    told = json.loads(here("describe", "longlive", "--weights", weights, "--json")[1])
    assert all(each["own"] for each in told["files"])
    assert told["config"]["dim"] == published.CONFIG["dim"]


def test_describe_says_which_file_is_not_pinned(here):
    code, said = here("describe", "sgf")
    assert code == 0
    assert "chunkwise/ar/model.pt is not pinned: names and shapes are checked" in said
    assert re.search(r"chunkwise/ar/model\.pt +not known +not pinned +missing", said)
    assert "JunhaoZhuang/Self_Gradient_Forcing at any revision" in said
    assert "hf download JunhaoZhuang/Self_Gradient_Forcing chunkwise/ar/model.pt &&" in said
    assert re.search(r"licence +Apache-2\.0", said)
    first = json.loads(here("describe", "causal-forcing", "--json")[1])["files"][0]
    assert (first["sha256"], first["revision"], first["bytes"]) == (None, None, None)
    assert first["also"] == ["chunkwise/longvideo.pt"]


@pytest.mark.nightly
def test_a_file_that_is_not_pinned_is_recorded_by_its_hash(weights, tmp_path):
    own = shutil.copytree(weights, tmp_path / "own")
    torch.save({"generator_ema": published.model().state_dict()}, own / "model.pt")
    (tmp_path / "p.jsonl").write_text('{"prompts": ["a fox"], "frames": 24}\n', encoding="utf-8")
    words = ("run", "--backbone", "sgf", "--weights", own, "--size", SIZE, "--suite", "drift", "--prompts", "p.jsonl")
    strategy = ("--strategy", "attention_sink.sink=3,window=12,pinned_at=20", "--equal-budget", "0")
    assert horizon(*words, *strategy, "--threads", "1", "--out", "c", cwd=tmp_path).splitlines()[-1] == "c: 1 ok"
    (told,) = json.loads((tmp_path / "c/manifest.json").read_text(encoding="utf-8"))["environments"].values()
    assert told["files"]["chunkwise/ar/model.pt"] == hashlib.sha256((own / "model.pt").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backbone", "pocket", "--size", "32x32"), "backbone pocket takes no size"),
        (("--backbone", "self-forcing", "--size", "big"), "size 'big': write height x width"),
        (("--backbone", "self-forcing", "--weights", "nowhere"), "no such folder of weights"),
        (("--prompts", "prompts.txt"), "prompts of yours mean nothing to pocket"),
        (("--suite", "vbench_long"), "suite vbench_long cannot run on pocket"),
        (("--suite", "distance", "--prompts", "prompts.txt"), "takes a file of prompts (distance)"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, here, words, message):
    (tmp_path / "prompts.txt").write_text("a fox\n", encoding="utf-8")
    code, said = here("run", *words)
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1


def test_code_in_a_checkpoint_does_not_run(tmp_path, here, weights):
    own = shutil.copytree(weights, tmp_path / "own")
    (own / "checkpoints/self_forcing_dmd.pt").write_bytes(pickle.dumps({"generator_ema": Malicious(tmp_path / "ran")}))
    published.sums(own)
    code, said = here("run", "--backbone", "self-forcing", "--weights", own)
    assert code == 2
    assert "refused, because reading it would execute code" in said
    assert not (tmp_path / "ran").exists()


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C"}
"""A locale whose encoding holds no letter beyond ASCII, in which Python takes it at its word."""


@pytest.mark.nightly
def test_a_prompt_keeps_its_letters_in_any_locale(weights, tmp_path):
    text = "café au lait, 東京, 🦊"
    record = {"id": "cafe", "prompts": [text], "frames": 6}
    (tmp_path / "cafe.jsonl").write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    set_up = ("--backbone", "self-forcing", "--weights", weights, "--size", SIZE)
    cells = ("--prompts", "cafe.jsonl", "--tier", "gate", "--suite", "drift", "--strategy", "sliding_window")

    def said(*words):
        done = run([*HORIZON[1:], *map(str, words)], cwd=tmp_path, env={**environment(tmp_path), **ASCII}, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said("run", *set_up, *cells, "--threads", "1", "--out", "there")
    (film,) = (tmp_path / "there").rglob("0.mp4")
    assert read_about(film)["prompt"] == text
    (cell,) = (tmp_path / "there").rglob("cell.json")
    assert json.loads(cell.read_text(encoding="utf-8"))["task"]["rows"][0]["script"][0][1] == text
    # A campaign that was made in one locale is gone on with, joined and shown in the other.
    assert "1 kept" in horizon("run", *set_up, *cells, "--threads", "1", "--out", "there", cwd=tmp_path)
    horizon("merge", "both", "there", cwd=tmp_path)
    said("compare", "both")
    said("sample", text, "--strategy", "sliding_window", *set_up, "--seconds", "1", "--out", "one.mp4")
    assert read_about(tmp_path / "one.mp4")["prompt"] == text
