"""The examination of a machine: what Horizon can do on it, and what to do where something is missing."""

from harness.doctor.checks import EXIT_CODES, Check, State, worst
from harness.doctor.examination import Patient, Probes, examine

__all__ = ["EXIT_CODES", "Check", "Patient", "Probes", "State", "examine", "worst"]
