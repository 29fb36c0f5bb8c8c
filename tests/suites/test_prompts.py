"""Prompt sets: the package's own, those of other files, and the scripts that they become."""

import hashlib
import json
import re
import shutil

import pytest

import suites.prompts
from harness.errors import PromptError
from harness.rollout.script import Cue, Script, parse_script
from suites import prompts
from suites.prompts import HOME, SETS, SUMS, Prompt, WrittenScene, built_in, first, from_file, script

COUNTS = {"steady": 32, "switch": 24, "recall": 12, "six": 4}
FRAMES = {"steady": 63, "switch": 81, "recall": 120, "six": 240}


def words(text):
    return re.findall(r"[a-z-]+", text.lower())


COLOURS = set(
    words(
        "amber auburn beige black blonde blue brass bronze brown burgundy caramel chrome cobalt copper coral cream "
        "crimson cyan dapple dark emerald ginger gold golden green grey indigo ivory khaki lilac lime magenta maroon "
        "mint navy ochre olive orange pale peach pink plum purple red rust rusty scarlet silver silvery striped tan "
        "teal turquoise violet white yellow"
    )
)
COMMON = set(words("a an and at between in its it of off on the then to with his her their"))


def scripted(prompt, **changes):
    return script(prompt, **{"rate": 4, "chunk": 3, **changes})


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_the_package(name):
    found = built_in(name)
    assert (found.name, len(found.prompts)) == (name, COUNTS[name])
    assert [prompt.id for prompt in found.prompts] == [f"{name}-{number:02}" for number in range(1, COUNTS[name] + 1)]
    assert f"{found.sha256}  {name}.jsonl" in (HOME / SUMS).read_text(encoding="utf-8").splitlines()
    assert found.sha256 == hashlib.sha256((HOME / f"{name}.jsonl").read_bytes()).hexdigest()
    assert len((HOME / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()) == COUNTS[name], (
        "no prompt is there twice"
    )
    assert {scripted(prompt).frames for prompt in found.prompts} == {FRAMES[name]}


def test_every_prompt_file_has_its_sum():
    listed = {line.split()[1] for line in (HOME / SUMS).read_text(encoding="utf-8").splitlines()}
    assert listed == {path.name for path in HOME.glob("*.jsonl")} == {f"{name}.jsonl" for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_prompts_are_long_captions_in_plain_letters(name):
    least, most = (40, 70) if name == "steady" else (25, 45)
    texts = [(prompt.id, scene.text) for prompt in built_in(name).prompts for scene in prompt.scenes]
    assert {which: len(text.split()) for which, text in texts if not least <= len(text.split()) <= most} == {}
    assert [which for which, text in texts if not text.isascii() or set(text) & set("[]|;\n\t") or "  " in text] == []
    assert len({text for _, text in texts}) == len(texts)


@pytest.mark.parametrize("name", SETS)
def test_a_script_says_what_harness_script_reads(name):
    for line in (HOME / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        read = parse_script(record.get("script", record.get("prompt")), rate=4, chunk=3)
        assert scripted(next(prompt for prompt in built_in(name).prompts if prompt.id == record["id"])) == read


def boundaries(name):
    return [tuple(scene.boundary for scene in prompt.scenes) for prompt in built_in(name).prompts]


def test_scenes_are_entered_as_their_set_says():
    assert boundaries("steady") == [("smooth",)] * 32
    assert boundaries("switch") == [("smooth", "smooth"), ("smooth", "hardcut")] * 12
    assert boundaries("recall") == [("smooth", "hardcut", "recall")] * 12
    assert boundaries("six") == [("smooth",) * 6] * 4


def opening(scene):
    """Subject and looks, with which all prompts begin."""
    return set(words(scene.text)[:14]) - COMMON


def test_a_smooth_switch_keeps_its_subject_and_a_cut_does_not():
    for prompt in built_in("switch").prompts:
        old, new = prompt.scenes
        shared = opening(old) & set(words(new.text))
        assert len(shared) >= 5 if new.boundary == "smooth" else len(shared) <= 2, (prompt.id, shared)


def test_a_recall_names_the_first_subject_and_leaves_its_looks_to_the_memory():
    for prompt in built_in("recall").prompts:
        first_scene, cut, back = (set(words(scene.text)) for scene in prompt.scenes)
        subject = opening(prompt.scenes[2])
        assert len(subject & first_scene) >= 3, (prompt.id, subject - first_scene)
        assert len(subject & cut) <= 2, (prompt.id, subject & cut)
        assert len(COLOURS & opening(prompt.scenes[0])) >= 1, prompt.id
        assert COLOURS & back == set(), (prompt.id, COLOURS & back)


def test_six_scenes_are_one_story():
    for prompt in built_in("six").prompts:
        shared = set.intersection(*(opening(scene) for scene in prompt.scenes))
        assert len(shared & set(words(prompt.scenes[0].text)[:14])) >= 5, (prompt.id, shared)


def test_a_file_of_the_package_that_was_changed(tmp_path, monkeypatch):
    for path in [*HOME.glob("*.jsonl"), HOME / SUMS]:
        shutil.copy(path, tmp_path)
    (tmp_path / "six.jsonl").write_text(
        (HOME / "six.jsonl").read_text(encoding="utf-8").replace("red", "blue"), encoding="utf-8"
    )
    (tmp_path / "recall.jsonl").write_text("{", encoding="utf-8")
    monkeypatch.setattr(suites.prompts.sets, "HOME", tmp_path)
    built_in.cache_clear()
    try:
        for name in ("six", "recall"):
            with pytest.raises(PromptError, match=rf"{name}.jsonl was changed .*; install the package again"):
                built_in(name)
        assert len(built_in("steady").prompts) == 32
    finally:
        built_in.cache_clear()


def test_a_set_that_there_is_not():
    with pytest.raises(
        PromptError, match=r"no prompt set 'recal' \(did you mean 'recall'\?\); there are steady, switch"
    ):
        built_in("recal")


def test_the_first_prompts_of_a_set():
    steady = built_in("steady")
    assert first(steady, 2) == steady.prompts[:2]
    assert first(steady, 32) == steady.prompts
    for count in (0, 33):
        with pytest.raises(PromptError, match=rf"{count} prompts of 'steady' .* has 32, so request 1 to 32"):
            first(steady, count)


ODD = [
    "A close-up [macro] of a bee; then | a flower",
    "A line with a \u2028 separator and \x85 in it, \u201cquoted\u201d",
    "A cat [1]",
]


def test_prompts_of_a_benchmark_survive_as_they_are(tmp_path):
    path = tmp_path / "Bench.txt"
    path.write_bytes("\r\n".join(["\ufeff" + ODD[0], "", f"  {ODD[1]} ", ODD[0], ODD[2], ""]).encode())
    found = from_file(path)
    assert [prompt.id for prompt in found.prompts] == ["Bench-1", "Bench-3", "Bench-5"]
    assert [prompt.scenes for prompt in found.prompts] == [(WrittenScene(text),) for text in ODD]
    assert (found.name, found.sha256) == ("Bench", hashlib.sha256(path.read_bytes()).hexdigest())
    assert scripted(found.prompts[0], frames=240) == Script((Cue(0, ODD[0]),), 240)


def test_a_mark_makes_a_script_of_its_own_line_only(tmp_path):
    lines = ["a [10s#] | b; c [84f@]|a", "c | d; e", "f [1]"]
    one, *others = from_file(written(tmp_path, "mine.txt", "\n".join(lines))).prompts
    assert one == Prompt(
        "mine-1",
        (WrittenScene("a", "smooth", "10s"), WrittenScene("b; c", "hardcut", "84f"), WrittenScene("a", "recall")),
    )
    for rate, chunk in ((4, 3), (8, 1), (6, 5)):
        assert script(one, rate=rate, chunk=chunk) == parse_script(lines[0], rate=rate, chunk=chunk)
    assert [prompt.scenes for prompt in others] == [(WrittenScene(line),) for line in lines[1:]]


def test_a_mark_among_semicolons_leaves_other_lines_alone(tmp_path):
    """One mark once made scripts of all lines, cut at their semicolons and split at their bars."""
    lines = [
        "A close-up of a fox; slow motion; 35mm film",
        "A clock that counts down [10s]",
        "A sign that says A|B; neon",
    ]
    found = from_file(written(tmp_path, "marks.txt", "\n".join(lines))).prompts
    assert [prompt.scenes for prompt in found] == [
        (WrittenScene(lines[0]),),
        (WrittenScene("A clock that counts down", length="10s"),),
        (WrittenScene(lines[2]),),
    ]


def test_lists_of_prompts_say_where_their_scenes_begin(tmp_path):
    records = [
        {"prompts": list("abcdef"), "switch_frame_indices": "42, 81, 120, 162, 201"},
        {"prompts": ["a", "b", "a\u2028c"], "boundaries": ["hardcut", "recall"], "switch_frame_indices": [30, 60]},
        {"prompts": ["a", "b", "c"]},
    ]
    lines = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    found = from_file(written(tmp_path, "list.jsonl", lines))
    assert [prompt.id for prompt in found.prompts] == ["list-1", "list-3", "list-5"]
    path = written(tmp_path, "list.json", json.dumps(records))
    read = [scripted(prompt, frames=240) for prompt in found.prompts]
    assert [[cue.start for cue in each.cues] for each in read] == [
        [0, 42, 81, 120, 162, 201],
        [0, 30, 60],
        [0, 78, 159],
    ]
    assert [cue.boundary for cue in read[1].cues] == ["smooth", "hardcut", "recall"]
    assert {each.frames for each in read} == {240}
    assert [prompt.id for prompt in from_file(path).prompts] == ["list-1", "list-2", "list-3"]
    assert from_file(path).prompts[0].scenes == found.prompts[0].scenes


def test_published_switches_take_effect_at_the_next_chunk():
    """Six scenes that switch at 40, 80, ..., 200 are 240 frames, though they do not say so."""
    prompt = Prompt("p", tuple(map(WrittenScene, "abcdef")), starts=(40, 80, 120, 160, 200))
    found = scripted(prompt)
    assert [cue.start for cue in found.cues] == [0, 42, 81, 120, 162, 201]
    assert found.frames == 240
    assert scripted(Prompt("p", tuple(map(WrittenScene, "ab")), starts=(40,))).frames == 81


def test_who_asks_for_a_length_gets_it():
    several = Prompt("p", (WrittenScene("a", length="10s"), WrittenScene("b", "hardcut", "10s")))
    assert scripted(several, frames=240) == Script((Cue(0, "a"), Cue(39, "b", "hardcut")), 240)
    unsaid = Prompt("p", (WrittenScene("a"), WrittenScene("b")), frames=21)
    assert scripted(unsaid) == Script((Cue(0, "a"), Cue(9, "b")), 21)
    assert scripted(unsaid, frames=120) == Script((Cue(0, "a"), Cue(60, "b")), 120)
    assert scripted(Prompt("p", (WrittenScene("a"),))) == Script((Cue(0, "a"),), 63)


@pytest.mark.parametrize(
    ("prompt", "frames", "message"),
    [
        (Prompt("p", (WrittenScene("a"),)), 20, r"'p': 20 latent frames are not whole chunks of 3; ask for 21$"),
        (Prompt("p", (WrittenScene("a"),)), 0, r"begin at latent frames 0 of 0"),
        (
            Prompt("p", (WrittenScene("a", length="10s"), WrittenScene("b"))),
            39,
            r"'p': .* 0, 39 of 39; each needs a chunk \(3\)",
        ),
        (
            Prompt("p", (WrittenScene("a"), WrittenScene("b"), WrittenScene("c")), starts=(40, 41)),
            60,
            r"0, 42, 42 of 60",
        ),
        (Prompt("p", (WrittenScene("a"), WrittenScene("b")), frames=3), None, r"0, 0 of 3"),
    ],
)
def test_a_script_that_cannot_be(prompt, frames, message):
    with pytest.raises(PromptError, match=message):
        scripted(prompt, frames=frames)


def test_what_says_the_same_is_taken_once(tmp_path):
    lines = [{"id": "x", "prompt": "a | b"}, {"id": "y", "prompt": " a | b "}, {"id": "z", "script": "a | b"}]
    found = from_file(written(tmp_path, "own.jsonl", "\n".join(map(json.dumps, lines))))
    assert [(prompt.id, len(prompt.scenes)) for prompt in found.prompts] == [("x", 1), ("z", 2)]


def test_a_table_has_a_prompt_a_row(tmp_path):
    rows = [
        "\ufeffid, prompt ,seed,frames,vbench",
        'x,"a fox, red",7,24,',
        "",
        ',"a ""den""\nin snow; [10s] | b",,,a den',
        ",c,,,",
    ]
    found = from_file(written(tmp_path, "mine.csv", "\r\n".join(rows))).prompts
    assert found == (
        Prompt("x", (WrittenScene("a fox, red"),), frames=24, seed=7),
        Prompt("mine-4", (WrittenScene('a "den"\nin snow; [10s] | b'),), vbench="a den"),
        Prompt("mine-6", (WrittenScene("c"),)),
    )
    assert from_file(written(tmp_path, "one.csv", "prompt\na fox\n")).prompts == (
        Prompt("one-2", (WrittenScene("a fox"),)),
    )


def test_texts_alone_are_prompts_or_scripts_as_in_a_text_file(tmp_path):
    texts = ["a fox; red", "b [3s#] | c [3s]", "d | e"]
    wanted = [
        (WrittenScene("a fox; red"),),
        (WrittenScene("b", length="3s"), WrittenScene("c", "hardcut", "3s")),
        (WrittenScene("d | e"),),
    ]
    files = {
        "t.txt": "\n".join(texts),
        "l.jsonl": "\n".join(map(json.dumps, texts)),
        "j.json": json.dumps(texts),
    }
    for name, content in files.items():
        found = from_file(written(tmp_path, name, content)).prompts
        assert [prompt.scenes for prompt in found] == wanted
        assert [prompt.id for prompt in found] == [f"{name[0]}-{number}" for number in (1, 2, 3)]
    assert from_file(written(tmp_path, "o.json", '"a fox"')).prompts == (Prompt("o-1", (WrittenScene("a fox"),)),)


def test_a_prompt_with_two_seeds_is_two_prompts(tmp_path):
    records = [{"prompt": "a"}, {"prompt": "a", "seed": 0}, {"script": "a | b", "seed": 7}, {"prompt": "a", "seed": 0}]
    found = from_file(written(tmp_path, "s.json", json.dumps(records))).prompts
    assert [prompt.seed for prompt in found] == [None, 0, 7]
    nothing = {"prompt": "a", "seed": None, "frames": None, "vbench": None}
    assert from_file(written(tmp_path, "n.json", json.dumps(nothing))).prompts == (Prompt("n-1", (WrittenScene("a"),)),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "", "no prompt in it"),
        ("p.csv", "prompt\n", "no prompt in it"),
        ("p.csv", "a fox\na den\n", r"line 1: no column is named 'prompt'; .*allowed: prompt, id, .*given: 'a fox'"),
        ("p.csv", "prompt;id\na fox;1\n", r"line 1: no column is named 'prompt'; .*commas between them"),
        ("p.csv", "prompt,sed\na,1\n", r"line 1: unknown column 'sed' \(did you mean 'seed'\?\); .*remove the others"),
        ("p.csv", "prompt,id,id\na,1,2\n", r"line 1: two columns are named 'id'"),
        ("p.csv", "prompt\na fox, red\n", r"line 2: 2 cells for 1 columns; put a prompt with commas into quotes"),
        ("p.csv", 'prompt\n"a\nb"\n"c" d\n', r"line 4: not CSV .*; put a prompt"),
        ("p.csv", "prompt,seed\na,1.5\n", r"line 2: \"seed\" must be .* from 0 to 4,294,967,295; given: '1.5'"),
        ("p.csv", "prompt,frames\na,0\n", r"line 2: \"frames\" must be latent frames.*given: 0"),
        ("p.csv", "prompt,id\n ,x\n", r'line 2: "prompt" must be a text'),
        ("p.jsonl", '"a"\n""\n', r"line 2: the prompt is empty"),
        ("p.json", '["a", 3]', r"record 2: a record needs one of .*or write the prompt alone"),
        ("p.txt", "\n \n", r"p\.txt: no prompt in it"),
        ("p.txt", "a [10s] | b\n\nc [x] d [3s]\n", r"p\.txt, line 3: scene 1 .*brackets hold the mark"),
        ("p.txt", "a [10s]; A\n", r"p\.txt, line 1: scene 1 .*remove subtitles behind the semicolon: cut"),
        ("p.txt", "a [10s] | b\nc [10s!] | d\n", r"line 2: .*cannot read the mark \[10s!\]"),
        ("p.tsv", "a", r"p\.tsv; needed: a file that ends with \.txt, \.csv, \.jsonl, \.json"),
        ("p.jsonl", '{"prompt": "a"}\n{', r"p\.jsonl, line 2: not JSON"),
        ("p.json", "{", r"p\.json: not JSON"),
        ("p.json", "[]", r"no prompt in it"),
        ("p.json", '[{"prompt": "a"}, 3]', r"p\.json, record 2: a record needs one of"),
        ("p.jsonl", '{"text": "a"}', r'line 1: a record needs one of "prompt"'),
        ("p.jsonl", '{"prompt": "a", "script": "b"}', r"a record needs one of"),
        ("p.jsonl", '{"prompt": ["a"]}', r'"prompt" must be a text'),
        ("p.jsonl", '{"prompt": " "}', r'"prompt" must be a text'),
        ("p.jsonl", '{"script": 3}', r'"script" must be a text'),
        ("p.jsonl", '{"script": "a [3s#]"}', r"line 1: scene 1 .*no scene follows"),
        ("p.jsonl", '{"prompts": "a"}', r'"prompts" must be texts'),
        ("p.jsonl", '{"prompts": ["a", ""]}', r'"prompts" must be texts'),
        ("p.jsonl", '{"prompts": ["a"], "id": 3}', r'"id" must be a text .*given: 3'),
        (
            "p.jsonl",
            '{"id": "x", "prompt": "a"}\n{"id": "x", "prompt": "b"}',
            r"line 2: its id 'x' is that of line 1 too",
        ),
        ("p.jsonl", '{"prompts": ["a", "b"], "boundaries": ["cut"]}', r"must be 1 of smooth, hardcut, recall"),
        ("p.jsonl", '{"prompts": ["a", "b"], "boundaries": []}', r"must be 1 of smooth"),
        ("p.jsonl", '{"prompts": ["a", "b"], "frames": "9"}', r"\"frames\" must be .* given: '9'"),
        ("p.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": "1, 2"}', r"must be 1 whole numbers"),
        ("p.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": [0]}', r"each above the last; given: \[0\]"),
        ("p.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": [1.5]}', r"whole numbers"),
        ("p.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": 4}', r"whole numbers"),
        ("p.jsonl", '{"prompts": ["a", "b", "c"], "switch_frame_indices": [9, 6]}', r"each above the last"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, name, content, message):
    with pytest.raises(PromptError, match=message) as caught:
        from_file(written(tmp_path, name, content))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(PromptError, match=r"cannot read .*none\.txt: No such file"):
        from_file(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(PromptError, match=r"cannot read .*latin\.txt: not UTF-8 .* at byte 3"):
        from_file(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a red fox in the snow", "frames": 24},
        {"script": "a red fox in the snow", "frames": 24},
        {"prompts": ["a red fox in the snow"], "frames": 24},
    ],
)
def test_every_record_may_say_how_long_its_video_is(tmp_path, record):
    path = tmp_path / "pf.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    (prompt,) = from_file(path).prompts
    assert (prompt.frames, script(prompt, rate=4, chunk=3).frames) == (24, 24)


def test_ids_of_a_file_whose_name_the_locale_cannot_read(tmp_path):
    # What Python under LC_ALL=C makes of the bytes of "fé", and a name that is no UTF-8 at all.
    for stem in ("f\udcc3\udca9", "f\udcff"):
        content = "a fox\n"
        (tmp_path / f"{stem}.txt").write_text(content, encoding="utf-8")
        found = from_file(tmp_path / f"{stem}.txt")
        assert found.name in ("f\u00e9", "f\ufffd")
        assert [prompt.id for prompt in found.prompts] == [f"{found.name}-1"]


def test_a_cell_may_be_long(tmp_path):
    text = "a fox " * 40_000
    found = from_file(written(tmp_path, "p.csv", f"id,prompt\na,{text}\n"))
    assert found.prompts[0].scenes == (WrittenScene(text.strip()),)


def test_a_written_scene_is_found_by_its_former_name():
    assert prompts.Scene is WrittenScene
