"""Which code and which machine made a number."""

from harness.provenance.code import (
    COST,
    LOOKED_AT_LATER,
    OWN,
    PLUMBING,
    ROLLOUT,
    CellCode,
    Code,
    changes,
    code_of,
    is_checkout,
    source_file,
)
from harness.provenance.reader import DIGITS, IGNORED

__all__ = [
    "COST",
    "DIGITS",
    "IGNORED",
    "LOOKED_AT_LATER",
    "OWN",
    "PLUMBING",
    "ROLLOUT",
    "CellCode",
    "Code",
    "changes",
    "code_of",
    "is_checkout",
    "source_file",
]
