"""Numbers as they are printed: a mark never stands beside digits that hide what it means."""

import numpy as np
import pandas as pd
import pytest

from reports.sheets.sheet import Sheet, column, number

UNKNOWN = {"count": 32, "own": 32, "of": 32, "better": "lower", "real": False, "difference": np.nan, "yardstick": False}


def table(*rows):
    """(arm, mean, low, high, what else)."""
    return pd.DataFrame([
        {"arm": arm, "mean": mean, "low": low, "high": high, **UNKNOWN, **more} for arm, mean, low, high, more in rows
    ])  # fmt: skip


def printed(*rows, spell=None):
    part = table(*rows)
    cells, count = column(part, list(part["arm"]), spell or number())
    return dict(zip(part["arm"], cells, strict=True)), count


def test_digits_are_added_until_a_marked_number_differs_from_an_unmarked_one():
    """ "0.05 ± 0.04 ▼" stood beside an unmarked "0.05 ± 0.04"."""
    cells, count = printed(
        ("sliding_window", 0.021, 0.02, 0.022, {}),
        ("memrope", 0.0523, 0.012, 0.093, {"real": True, "difference": 0.0313}),
        ("attention_sink", 0.0487, 0.009, 0.088, {"difference": 0.0277}),
    )
    assert cells == {
        "sliding_window": "0.021 [0.020, 0.022]",
        "memrope": "0.052 [0.012, 0.093] ▼",
        "attention_sink": "0.049 [0.009, 0.088]",
    }
    assert count == "n=32"


def test_where_no_digits_help_the_difference_is_printed():
    cells, _ = printed(
        ("sliding_window", 0.02, 0.01, 0.03, {}),
        ("memrope", 0.02 + 1e-9, 0.01, 0.03, {"real": True, "difference": 1e-9}),
    )
    assert cells["memrope"] == "0.020 [0.010, 0.030] ▼ +1e-09"


def test_an_interval_does_not_look_like_none():
    cells, _ = printed(("a", 0.021, 0.019, 0.024, {}), ("b", 0.5, 0.4, 0.6, {}))
    assert cells == {"a": "0.021 [0.019, 0.024]", "b": "0.500 [0.400, 0.600]"}
    # But never at any price.
    cells, _ = printed(("a", 0.021, 0.0209999, 0.0210001, {}), ("b", 0.5, 0.4, 0.6, {}))
    assert cells["b"] == "0.50 [0.40, 0.60]"


def test_two_digits_are_enough_where_nothing_is_hidden():
    cells, _ = printed(
        ("sliding_window", 0.13, 0.05, 0.24, {"better": "higher"}),
        ("memrope", 1.0, 0.93, 1.0, {"better": "higher", "real": True, "difference": 0.87}),
    )
    assert cells == {"sliding_window": "0.13 [0.05, 0.24]", "memrope": "1.00 [0.93, 1.00] ▲"}


def test_counts():
    cells, count = printed(
        ("a", 1.0, 0.9, 1.1, {"count": 2, "own": 4, "of": 4}),
        ("b", 2.0, 1.9, 2.1, {"count": 2, "own": 2, "of": 4}),
        ("c", np.nan, np.nan, np.nan, {"count": 0, "own": 1, "of": 4}),
    )
    assert count == "n=2 of 4"
    assert cells == {"a": "1.00 [0.90, 1.10]", "b": "2.00 [1.90, 2.10] (2 of 4)", "c": "n/a (1 of 4)"}
    cells, count = printed(
        ("a", 1.0, np.nan, np.nan, {"count": 1, "own": 1, "of": 4}),
        ("b", 2.0, 1.9, 2.1, {"count": 3, "own": 3, "of": 4}),
    )
    assert (cells, count) == ({"a": "1.00 of 1", "b": "2.00 [1.90, 2.10] of 3"}, "")


@pytest.mark.parametrize(
    ("value", "digits", "says"), [(-0.001, 2, "0.00"), (-1.5, 1, "-1.5"), (1234.5, 0, "1,234"), (0.0, 2, "0.00")]
)
def test_numbers(value, digits, says):
    assert number(digits)(value, np.nan, np.nan, 0) == says
    assert number(digits)(value, value, value, 0) == says


def test_a_sheet_names_its_counts():
    sheet = Sheet("t", [])
    sheet.add("strategy", ["a"])
    sheet.add("identity", ["1"], "n=4")
    assert sheet.titles == ["strategy", "identity, n=4"]
    assert sheet.rows == [["a", "1"]]
