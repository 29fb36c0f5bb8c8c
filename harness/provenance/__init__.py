"""Which code and which machine made a number."""

from harness.provenance.code import (
    COST,
    DIGITS,
    IGNORED,
    LOOKED_AT_LATER,
    OWN,
    PLUMBING,
    ROLLOUT,
    WORLDS,
    CellCode,
    Code,
    changes,
    code_of,
    is_checkout,
    source_file,
)

__all__ = [
    "COST",
    "DIGITS",
    "IGNORED",
    "LOOKED_AT_LATER",
    "OWN",
    "PLUMBING",
    "ROLLOUT",
    "WORLDS",
    "CellCode",
    "Code",
    "changes",
    "code_of",
    "is_checkout",
    "source_file",
]
