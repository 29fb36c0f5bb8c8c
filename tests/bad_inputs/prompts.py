"""Files of prompts and scripts."""

from __future__ import annotations

import json

from tests.bad_inputs.checker import Bad
from tests.bad_inputs.made import file, pipe

RUN = ("run", "--suite", "drift", "--prompts")


def record(name: str, about: object, words: str) -> Bad:
    """A record of a .jsonl file; text is taken as it is."""
    text = about if isinstance(about, str) else json.dumps(about)
    return Bad(f"a record with {name}", (*RUN, "p.jsonl"), f"p.jsonl, line 1: .*{words}", file("p.jsonl", text + "\n"))


PAIR = ["a fox", "a cat"]

ROWS = [
    Bad("prompts that are not there", (*RUN, "p.txt"), "cannot read p.txt: No such file"),
    Bad("prompts that are a folder", (*RUN, "."), "cannot read .*: not a regular file"),
    Bad("prompts that are a pipe", (*RUN, "p.txt"), "cannot read p.txt: not a regular file", pipe("p.txt")),
    Bad("prompts of another format", (*RUN, "p.tsv"), "needed: a file that ends with .txt", file("p.tsv", "a fox\n")),
    Bad("a table without a column of prompts", (*RUN, "p.csv"), "p.csv, line 1: no column is named 'prompt'",
        file("p.csv", "a fox\na cat\n")),
    Bad("a table with another column", (*RUN, "p.csv"), "p.csv, line 1: unknown column 'category'; allowed: prompt, id",
        file("p.csv", "prompt,category\na fox,animals\n")),
    Bad("a table with a comma too many", (*RUN, "p.csv"), "p.csv, line 2: 2 cells for 1 columns; put a prompt with",
        file("p.csv", "prompt\na fox, red\n")),
    Bad("a table with half a quote", (*RUN, "p.csv"), "p.csv, line 2: not CSV", file("p.csv", 'prompt\n"a fox\n')),
    Bad("a table with a seed in words", (*RUN, "p.csv"), "p.csv, line 2: \"seed\" must be .*given: 'seven'",
        file("p.csv", "prompt,seed\na fox,seven\n")),
    Bad("prompts of Latin-1", (*RUN, "p.txt"), "p.txt: not UTF-8", file("p.txt", b"caf\xe9\n")),
    Bad("prompts of nothing", (*RUN, "p.txt"), "p.txt: no prompt in it", file("p.txt", "\n\n")),
    Bad("a prompt with a NUL", (*RUN, "p.txt"), "p.txt, line 1: character 6 is", file("p.txt", "a fox\0\n")),
    Bad("a script with a broken mark", (*RUN, "p.txt"), "line 2: scene 1.*cannot read the mark",
        file("p.txt", "a fox [10s]\na cat [10 sec]\n")),
    Bad("a script of 400 digits", (*RUN, "p.txt"), "line 1: scene 1.*at most",
        file("p.txt", f"a fox [{'9' * 400}s]\n")),
    record("half of it", '{"prompt": "a', "not JSON"),
    record("lists in lists", "[" * 100_000, "not JSON .nested too deep"),
    record("a number of 5,000 digits", '{"prompt": "a", "frames": ' + "9" * 5000 + "}", "not JSON .Exceeds the limit"),
    record("a number alone", 5, "a record needs one of"),
    record("a list alone", ["a"], "a record needs one of"),
    record("no prompt", {"id": "a"}, "a record needs one of.*; given: {'id': 'a'}"),
    record("a prompt in capitals", {"Prompt": "a fox"}, "did you mean 'prompt'.*; given: {'Prompt': 'a fox'}"),
    record("a text", {"text": "a fox"}, "did you mean 'prompt'.*; given: {'text': 'a fox'}"),
    record("a prompt twice", '{"prompt": "a fox", "prompt": "a cat"}', "the key 'prompt' is there twice; keep one"),
    record("nothing once it is cleaned", {"prompt": "&amp;nbsp; "}, "nothing is left of the prompt '&amp;nbsp;' once"),
    record("a scene of nothing", {"prompts": ["a fox", "&nbsp;"]}, "nothing is left of the prompt '&nbsp;' once"),
    Bad("a line of nothing", (*RUN, "p.txt"), "p.txt, line 2: nothing is left of the prompt '&nbsp;' once it is",
        file("p.txt", "a fox\n&nbsp;\n")),
    record("two kinds of prompt", {"prompt": "a", "script": "b"}, "a record needs one of"),
    record("an empty prompt", {"prompt": " "}, "must be a text that say something"),
    record("a number as a prompt", {"prompt": 5}, "must be a text"),
    record("an empty list", {"prompts": []}, "must be texts"),
    record("a key of another name", {"prompts": ["a fox"], "frame": 24}, "unknown key 'frame' .did you mean 'frames'"),
    record("a boundary of another name", {"prompts": PAIR, "boundary": ["hardcut"]}, "did you mean 'boundaries'"),
    record("boundaries of one prompt", {"prompt": "a fox", "boundaries": []}, "unknown key 'boundaries'"),
    record("a seed below 0", {"prompt": "a fox", "seed": -1}, "whole number from 0 to 4,294,967,295; given: -1"),
    record("a seed of 64 bits", {"prompt": "a fox", "seed": 2**64}, "whole number from 0 to 4,294,967,295"),
    record("a seed in quotes", {"prompt": "a fox", "seed": "3"}, "whole number from 0 to .*given: '3'"),
    record("a seed that is true", {"prompt": "a fox", "seed": True}, "whole number from 0 to .*given: True"),
    record("a prompt of VBench that is empty", {"prompt": "a fox", "vbench": " "}, '"vbench" must be the prompt of'),
    record("a prompt of VBench for scenes", {"prompts": PAIR, "vbench": "a"}, "unknown key 'vbench'"),
    record("an empty text", '""', "the prompt is empty; write at least a word"),
    record("a negative prompt", {"prompt": "a fox", "negative_prompt": "blur"}, "no meaning here.*without guidance"),
    record("a list as a boundary", {"prompts": PAIR, "boundaries": [["hardcut"]]}, "must be 1 of smooth, hardcut"),
    record("an unknown boundary", {"prompts": PAIR, "boundaries": ["cut"]}, "must be 1 of smooth, hardcut"),
    record("a word for boundaries", {"prompts": PAIR, "boundaries": "h"}, "must be 1 of smooth, hardcut"),
    record("no frames", {"prompt": "a fox", "frames": 0}, "whole number from 1 to"),
    record("frames that are true", {"prompt": "a fox", "frames": True}, "whole number from 1 to"),
    record("frames of 64 bits", {"prompt": "a fox", "frames": 2**64}, "whole number from 1 to"),
    record("frames of nan", {"prompt": "a fox", "frames": float("nan")}, "whole number from 1 to"),
    record("switches that are words", {"prompts": PAIR, "switch_frame_indices": "soon"}, "must be 1 whole numbers"),
    record("switches of 64 bits", {"prompts": PAIR, "switch_frame_indices": [2**64]}, "must be 1 whole numbers"),
    record("switches that are a table", {"prompts": PAIR, "switch_frame_indices": {"a": 1}}, "must be 1 whole numbers"),
    record("half a letter", '{"prompt": "a \\ud800 fox"}', "no part of a text"),
    record("an escape sequence", {"prompt": "a \x1b[31m fox"}, "no part of a text"),
    record("an id that is a number", {"id": 5, "prompt": "a fox"}, '"id" must be a text'),
    Bad("two prompts of one id", (*RUN, "p.jsonl"), "line 2: its id 'a' is that of line 1 too",
        file("p.jsonl", '{"id": "a", "prompt": "a fox"}\n{"id": "a", "prompt": "a cat"}\n')),
    Bad("a file of half a list", (*RUN, "p.json"), "p.json: not JSON", file("p.json", "[")),
]  # fmt: skip
