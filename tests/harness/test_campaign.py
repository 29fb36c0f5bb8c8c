import pytest

from harness import registry
from harness.budget import FAR, dense_bytes, sized
from harness.campaign import EQUAL, PUBLISHED, arms, cells, make_campaign, read_campaign
from harness.errors import CampaignError, KnobError
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
    path.write_text('strategies = ["memrope"]\ntier = "full"\n[knobs]\nmemrope.alpha_long = [0.001, 0.1]\n')
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
    path.write_text(text)
    with pytest.raises(CampaignError, match=says):
        read_campaign(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CampaignError, match=r"cannot read .*none.toml: No such file"):
        read_campaign(tmp_path / "none.toml")


def test_knobs_expand_to_arms_each_once(backbone):
    campaign = make_campaign(
        {
            "strategies": ("sliding_window", "memrope", "full"),
            "knobs": {"memrope": {"alpha_long": [0.01, 0.1], "sink": 3}},
        }
    )
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


@pytest.mark.parametrize("name", ["sliding_window", "attention_sink", "infinity_rope", "memrope"])
@pytest.mark.parametrize("window", [9, 12, 21])
def test_the_equal_budget_is_the_nearest_that_a_window_gives(backbone, name, window):
    spec = backbone.memory_spec()
    budget = dense_bytes(spec, window)
    found = sized(registry.strategy(name), spec, budget, 30)
    off = abs(found.footprint(spec, FAR) - budget)
    for other in range(7, 30):
        assert off <= abs(registry.strategy(name, window=other).footprint(spec, FAR) - budget)
    # The smallest window that memrope's sink and averages leave room in is 8.
    least = 8 if name == "memrope" else 0
    assert sized(registry.strategy(name), spec, budget, window - 2).knobs()["window"] == max(window - 2, least)
    assert sized(registry.strategy("full"), spec, budget, 30) is None


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
