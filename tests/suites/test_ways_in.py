"""What the text encoder is given is what was typed, whichever way a prompt comes in."""

import csv
import io
import json
import re

import pytest

from harness import registry
from harness.rollout.sample import sample, script_of
from harness.rollout.task_rollout import rollout_of
from suites.drift import Drift
from suites.interactive import Interactive
from suites.prompts import HOME, SETS, built_in, from_file
from suites.vbench_long import VbenchLong

PLAIN = [
    "a red fox in the snow; the camera follows",
    "A sign that says A|B; neon",
    "a fox | a den; a fox again",
    "\u201cquoted\u201d, 'single' and \"double\", with a \\ and a comma",
    "caf\u00e9 au lait \u2615, \u96ea\u4e2d\u7684\u72d0\u72f8; \u043b\u0438\u0441\u0430 | \U0001f98a",
    "a close-up [macro] of a bee, 1 < 2 & 3 &amp; 4 %s {0}",
    "; | ;",
]
"""Without marks: one prompt each, as it is."""
SCENES = ["a fox; slow motion", "a \u201cden\u201d, 35mm; film", "\u96ea; a fox again"]
SCRIPT = "{} [3s#] | {} [6f@]|{}".format(*SCENES)


class Ear:
    """A text encoder that keeps what it is given, and embeds every prompt alike."""

    def __init__(self, text):
        self.text, self.heard = text, []

    def __call__(self, prompts):
        self.heard += list(prompts)
        return self.text(["a thing"] * len(prompts))


@pytest.fixture
def backbone():
    """The pocket's model, with an encoder to which any words may be said."""
    found = registry.backbone("pocket")
    found.name, found.text, found.world = "self-forcing", Ear(found.text), None
    return found


def heard(backbone, suites, path=None):
    """What the encoder is given when suites roll out the prompts of a file, or their own."""
    backbone.text.heard.clear()
    strategy = registry.strategy("memrope")
    for suite in suites:
        if path is not None:
            assert suite.take(path)
        for task in suite.tasks(backbone, "quick"):
            rollout_of(backbone, strategy, task)
    return backbone.text.heard


def sampled(backbone, typed):
    backbone.text.heard.clear()
    sample(backbone, registry.strategy("memrope"), script_of(backbone, typed))
    return backbone.text.heard


def as_csv(prompts):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([["id", "prompt"], *([f"n{number}", prompt] for number, prompt in enumerate(prompts))])
    return file.getvalue()


def lines(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


FILES = {
    "lines.txt": "".join(f"  {prompt}\t\r\n" for prompt in PLAIN),
    "columns.csv": as_csv(PLAIN),
    "records.jsonl": lines({"prompt": f" {prompt} "} for prompt in PLAIN),
    "strings.jsonl": lines(PLAIN),
    "lists.jsonl": lines({"prompts": [prompt]} for prompt in PLAIN),
    "records.json": json.dumps([{"prompt": prompt, "frames": 24} for prompt in PLAIN]),
    "strings.json": json.dumps(PLAIN),
    "mixed.json": json.dumps([PLAIN[0], *({"prompt": prompt} for prompt in PLAIN[1:])]),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suite", [Drift, VbenchLong])
def test_a_prompt_of_a_file(backbone, tmp_path, name, suite):
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8", newline="")
    assert heard(backbone, [suite()], path) == PLAIN


def test_a_prompt_that_is_a_whole_file(backbone, tmp_path):
    path = tmp_path / "one.json"
    for prompt in PLAIN:
        path.write_text(json.dumps(prompt), encoding="utf-8")
        assert heard(backbone, [Drift()], path) == [prompt]


@pytest.mark.parametrize("prompt", PLAIN)
def test_a_prompt_that_is_typed(backbone, prompt):
    assert sampled(backbone, f" {prompt}\n") == [prompt]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("script.txt", f"{SCRIPT}\n"),
        ("script.jsonl", lines([SCRIPT])),
        ("scripts.jsonl", lines([{"script": SCRIPT}])),
        ("bars.jsonl", lines([{"script": " | ".join(SCENES)}])),
        ("list.jsonl", lines([{"prompts": SCENES, "switch_frame_indices": "12, 18"}])),
        ("list.json", json.dumps({"prompts": SCENES, "boundaries": ["hardcut", "recall"]})),
    ],
)
def test_scenes_of_a_file(backbone, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert heard(backbone, [Interactive()], path) == SCENES


def test_scenes_that_are_typed(backbone):
    assert sampled(backbone, SCRIPT) == SCENES


def test_bars_belong_to_a_prompt_of_a_list(backbone, tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text(lines([{"prompts": PLAIN[:3]}]), encoding="utf-8")
    assert heard(backbone, [Interactive()], path) == PLAIN[:3]


def test_a_script_among_prompts(backbone, tmp_path):
    """A mark makes a script of its own line, and of no other."""
    path = tmp_path / "mixed.txt"
    path.write_text("\n".join([*PLAIN[:3], SCRIPT, *PLAIN[3:]]), encoding="utf-8")
    assert heard(backbone, [Drift()], path) == PLAIN
    assert heard(backbone, [Interactive()], path) == SCENES


def test_prompts_of_the_package(backbone):
    texts = {}
    for name in SETS:
        records = [json.loads(line) for line in (HOME / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        whole = [record.get("script") or record["prompt"] for record in records]
        texts[name] = [scene.strip() for text in whole for scene in re.sub(r"\[[^]]*\]", "", text).split("|")]
        assert [scene.text for prompt in built_in(name).prompts for scene in prompt.scenes] == texts[name]
    told = heard(backbone, [Drift(), Interactive()])
    assert told[:8] == texts["steady"][:8]
    assert len(told) == 8 + 8 * 2 + 4 * 3 + 6
    assert set(told) <= {text for each in texts.values() for text in each}


def test_an_id_and_marks_are_not_heard(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,id,frames\n"a fox [10s] | a den",x,24\n', encoding="utf-8")
    (prompt,) = from_file(path).prompts
    assert (prompt.id, [scene.text for scene in prompt.scenes], prompt.frames) == ("x", ["a fox [10s] | a den"], 24)
