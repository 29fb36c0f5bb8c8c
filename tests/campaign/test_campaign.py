import re

import pytest

from harness import registry
from harness.backbone.request import BackboneRequest
from harness.campaign.campaign import EQUAL, PUBLISHED, make_campaign, read_campaign
from harness.campaign.expansion import absent, arms, cells, manifest
from harness.errors import CampaignError, KnobError, PresetError
from harness.memory.budget import dense_bytes
from harness.suite import Row, Task
from tests import toy


@pytest.fixture
def backbone():
    return toy.backbone(trained_frames=9)


@pytest.fixture
def suites(monkeypatch):
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: toy.Toy if name == "toy" else load(group, name))


def test_a_file_says_what_to_run(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'strategies = ["memrope"]\ntier = "full"\n[knobs]\nmemrope.alpha_long = [0.001, 0.1]\n', encoding="utf-8"
    )
    campaign = read_campaign(path)
    assert campaign.strategies == ("memrope",)
    assert campaign.knobs == {"memrope": {"alpha_long": [0.001, 0.1]}}
    assert (campaign.backbone, campaign.tier, campaign.equal_budget) == ("pocket", "full", 12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('strategy = ["memrope"]', r"unknown key 'strategy' \(did you mean 'strategies'\?\); allowed: backbone"),
        ("tier = 3", "tier = 3: input should be a valid string"),
        ("seed = -1", "seed = -1: input should be greater than or equal to 0"),
        ("tier =", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong(tmp_path, text, says):
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CampaignError, match=says):
        read_campaign(path)


@pytest.mark.parametrize(
    ("asked", "seeds"),
    [
        ({}, (0,)),
        ({"seed": 3}, (3,)),
        ({"seeds": 3}, (0, 1, 2)),
        ({"seed": 4, "seeds": 2}, (4, 5)),
        ({"seeds": [7, 2]}, (7, 2)),
        ({"seed": 2**32 - 2, "seeds": 2}, (2**32 - 2, 2**32 - 1)),
    ],
)
def test_seeds_are_counted_or_listed(asked, seeds):
    campaign = make_campaign(asked)
    assert campaign.every_seed() == seeds
    # As the command line does it, which reads a file first.
    assert make_campaign(campaign.model_dump()) == campaign


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"seeds": 0}, "seeds = 0: must be a number of seeds, 1 to 1,000, or a list of different seeds, each 0 to 4,"),
        ({"seeds": 1001}, "seeds = 1001: must be a number of seeds"),
        ({"seeds": "5"}, "seeds = '5': must be a number of seeds"),
        ({"seeds": True}, "seeds = True: must be a number of seeds"),
        ({"seeds": []}, r"seeds = \[\]: must be a number of seeds"),
        ({"seeds": [1, 1]}, r"seeds = \[1, 1\]: must be a number of seeds"),
        ({"seeds": [1, -1]}, r"seeds = \[1, -1\]: must be a number of seeds"),
        ({"seeds": [1.5]}, r"seeds = \[1.5\]: must be a number of seeds"),
        ({"seed": 4, "seeds": [1, 2]}, r"seeds is a list, which names every seed; leave seed \(4\) out"),
        ({"seed": 2**32 - 1, "seeds": 2}, "2 seeds from 4294967295 on exceed the largest seed, 4,294,967,295"),
    ],
)
def test_seeds_that_cannot_be(asked, says):
    with pytest.raises(CampaignError, match=says) as caught:
        make_campaign(asked)
    assert "\n" not in str(caught.value)


def test_several_seeds_are_the_cells_of_each(suites):
    """What a folder of one seed holds is found again when more are asked for."""
    backbone = registry.backbone("pocket")

    def planned(**asked):
        plain = {"strategies": ["memrope"], "suites": ["drift", "latency"], "equal_budget": 0, "tier": "gate"}
        campaign = make_campaign({**plain, **asked})
        return campaign, cells(campaign, backbone)

    alone = [planned(seed=seed)[1] for seed in (2, 3, 4)]
    campaign, together = planned(seed=2, seeds=3)
    drift = [cell.id for found in alone for cell in found if cell.suite.name == "drift"]
    cost = [cell.id for cell in alone[0] if cell.suite.name == "latency"]
    # A suite of cost has repeats of its own, which its seed counts.
    assert [cell.id for cell in together] == [*drift, *cost]
    told = manifest(campaign, backbone, together, "c")["asked"]
    assert (told["seed"], told["seeds"]) == (2, [2, 3, 4])
    assert "seeds" not in manifest(planned(seed=2)[0], backbone, alone[0], "c")["asked"]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "c.toml").write_text("seed = 3\n", encoding="utf-8-sig")
    assert read_campaign(tmp_path / "c.toml").seed == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CampaignError, match=r"cannot read .*none.toml: No such file"):
        read_campaign(tmp_path / "none.toml")


def test_knobs_expand_to_arms_each_once():
    campaign = make_campaign(
        {
            "strategies": ("sliding_window", "memrope", "full"),
            "knobs": {"memrope": {"alpha_long": [0.01, 0.1], "sink": 3}},
        }
    )
    backbone = toy.backbone(trained_frames=21)
    found = {arm.label: arm.tables for arm in arms(campaign, backbone)}
    # Two averages of one token each beside 8 frames of 4: as near to 9 frames as with 9, and smaller.
    assert found == {
        "sliding_window": (PUBLISHED, EQUAL),
        "memrope": (PUBLISHED,),
        "memrope.window=13": (EQUAL,),
        "memrope.alpha_long=0.1": (PUBLISHED,),
        "memrope.window=13,alpha_long=0.1": (EQUAL,),
        "full": (PUBLISHED,),
    }
    assert len(arms(make_campaign({"strategies": ("sliding_window",), "equal_budget": 0}), backbone)) == 1


def test_knobs_that_cannot_be(backbone):
    with pytest.raises(CampaignError, match=r"knobs.memrope: that strategy is not in this campaign; it has full"):
        arms(make_campaign({"strategies": ("full",), "knobs": {"memrope": {"sink": 1}}}), backbone)
    with pytest.raises(KnobError, match="has no knob 'alpha'"):
        arms(make_campaign({"strategies": ("memrope",), "knobs": {"memrope": {"alpha": 1}}}), backbone)


def test_an_arm_says_what_it_was_asked_to_hold_and_why_it_does_not(suites):
    backbone = toy.backbone(trained_frames=21)
    names = ("sliding_window", "attention_sink.window=21,sink=10", "infinity_rope", "videomla", "echo_forcing", "full")
    campaign = make_campaign({"strategies": names, "suites": ("toy",)})
    budget = dense_bytes(backbone.memory_spec(), 12)
    planned = cells(campaign, backbone)
    found = {
        arm["label"]: (arm["tables"], arm["budget_bytes"], arm["budget_note"])
        for arm in manifest(campaign, backbone, planned, "a")["asked"]["arms"]
    }
    latent, scene = (found.pop(name)[2] for name in ("videomla.window=21 (untrained, SVD only)", "echo_forcing"))
    assert found == {
        "sliding_window": ([PUBLISHED, EQUAL], budget, None),
        "attention_sink.window=21,sink=10": ([PUBLISHED], None, None),
        "attention_sink.sink=5": ([EQUAL], budget, None),
        "infinity_rope": ([PUBLISHED], None, None),
        "infinity_rope.window=12": ([EQUAL], budget, None),
        "videomla (untrained, SVD only)": ([PUBLISHED], None, None),
        "full": ([PUBLISHED], budget, "Full keeps every frame: its bytes grow with the video, so no budget holds it"),
    }
    assert re.fullmatch(
        r"holds .* of 13.8 kB \(-.* %\): more would be a longer context than the 21 latent frames .*", latent
    )
    assert re.fullmatch(r"the smallest shape \(anchors=3,.*\) holds .*, and the budget is 13.8 kB", scene)
    assert absent(planned) == [
        f"echo_forcing is not at the equal budget: {scene}",
        f"full is not at the equal budget: {found['full'][2]}",
    ]


def test_two_arms_that_are_the_same_at_a_budget_are_one(backbone):
    campaign = make_campaign({"strategies": ("infinity_rope", "infinity_rope.window=7"), "equal_budget": 9})
    found = {arm.label: (arm.tables, arm.budget_bytes) for arm in arms(campaign, backbone)}
    budget = dense_bytes(backbone.memory_spec(), 9)
    assert found == {
        "infinity_rope": ((PUBLISHED,), None),
        "infinity_rope.window=9": ((EQUAL,), budget),
        "infinity_rope.window=7": ((PUBLISHED,), None),
    }


def test_a_budget_that_makes_no_sense(backbone):
    for window in (2, 10, 10**9):
        with pytest.raises(CampaignError, match=f"equal_budget = {window}: a dense window of toy has 4 to 9 latent"):
            arms(make_campaign({"strategies": ("full",), "equal_budget": window}), backbone)


def test_cells_are_named_by_what_decides_their_numbers(backbone, suites):
    campaign = {"strategies": ("sliding_window", "full"), "suites": ("toy",), "equal_budget": 0}
    planned = cells(make_campaign(campaign), backbone)
    assert [cell.id for cell in planned] == [cell.id for cell in cells(make_campaign(campaign), backbone)]
    ids = {cell.id for cell in planned}
    assert len(ids) == len(planned)
    for change in ({"seed": 1}, {"knobs": {"sliding_window": {"window": 9}, "full": {}}}):
        changed = [cell for cell in cells(make_campaign(campaign | change), backbone) if cell.arm.name != "full"]
        assert not ids & {cell.id for cell in changed}
    backbone.model.blocks[0].modulation.data += 1
    assert not ids & {cell.id for cell in cells(make_campaign(campaign), backbone)}


def test_an_unbounded_memory_runs_within_its_training_and_no_further(backbone, suites):
    campaign = make_campaign({"strategies": ("full",), "suites": ("toy",)})
    found = [(cell.task.scenario, cell.task.frames, cell.skip) for cell in cells(campaign, backbone)]
    reason = "full keeps every frame; beyond the 9 latent frames of its training it is not defined"
    # The second task is about a switch that its beginning does not reach.
    assert found == [("plain", 9, None), ("plain", 30, reason), ("turn", 18, reason)]


def test_what_a_suite_does_not_have(backbone, suites):
    with pytest.raises(CampaignError, match="suite toy has no tier 'huge'; allowed: quick"):
        cells(make_campaign({"suites": ("toy",), "tier": "huge"}), backbone)
    with pytest.raises(
        CampaignError, match="suite drift cannot run on toy: it needs a backbone with a text encoder and a codec"
    ):
        cells(make_campaign({}), backbone)


def test_a_knob_that_an_arm_names_itself_keeps_its_value(tmp_path, backbone):
    # One arm at 9, beside a grid of 12 and 15 for the arm that names none.
    path = tmp_path / "ov.toml"
    path.write_text(
        'strategies = ["memrope.window=9", "memrope"]\nsuites = ["distance"]\nequal_budget = 0\n'
        "[knobs]\nmemrope.window = [12, 15]\nmemrope.sink = [1]\n",
        encoding="utf-8",
    )
    found = arms(read_campaign(path), backbone)
    assert [(arm.strategy.knobs()["window"], arm.strategy.knobs()["sink"]) for arm in found] == [
        (9, 1), (12, 1), (15, 1),
    ]  # fmt: skip


def test_a_grid_is_counted_before_it_is_made(backbone):
    asked = make_campaign({"strategies": ["memrope"], "knobs": {"memrope": {"window": list(range(10**5))}}})
    with pytest.raises(CampaignError, match="has 100,000 arms; at most 10,000"):
        arms(asked, backbone)


def test_a_seed_of_a_rollout_fits_a_table(monkeypatch, backbone):
    class Far(toy.Toy):
        def tasks(self, backbone, tier, seed=0):
            return [Task("plain", 30, 0, (Row(2**63, ((0, "a"),)),))]

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: Far if name == "toy" else load(group, name))
    asked = make_campaign({"strategies": ["full"], "suites": ["toy"], "equal_budget": 0})
    with pytest.raises(CampaignError, match="gives a rollout the seed 9223372036854775808; allowed: 0 to"):
        cells(asked, backbone)


def test_a_campaign_asks_for_its_backbone_with_the_options_that_it_has():
    assert make_campaign({}).backbone_request() == BackboneRequest(name="pocket")
    asked = {"backbone": "longlive", "device": "cuda:1", "dtype": "float16", "compile": "graphs", "size": "480x832",
             "offload": True, "weights": "here", "container": "generator", "chunk": 1}  # fmt: skip
    assert make_campaign(asked).backbone_request() == BackboneRequest(
        name="longlive",
        device="cuda:1",
        dtype="float16",
        compile="graphs",
        options={"size": (480, 832), "offload": True, "weights": "here", "container": "generator", "chunk": 1},
    )
    with pytest.raises(PresetError, match="device 'meta' holds shapes and no numbers"):
        make_campaign({"device": "meta"}).backbone_request()
