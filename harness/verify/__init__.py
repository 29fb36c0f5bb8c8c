"""The invariants that every memory must keep, run on any strategy."""

from harness.verify.run import CHECKS, Finding, verify

__all__ = ["CHECKS", "Finding", "verify"]
