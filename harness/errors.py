"""What can be wrong with a request. Each message says what was given, what is allowed, and what to do.

All derive from `HorizonError`, which the command line prints as one line (exit code 2); each also derives from the
built-in exception that a caller of the Python API would expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint, to stand behind an unknown name, at the one that is nearest to it; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def shown(value: object, most: int = 60) -> str:
    """Return a wrong value as a message shows it: cut where it is long, and in words where it cannot be written."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python writes no number of thousands of digits.
        text = "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."


class HorizonError(Exception):
    """A request that Horizon cannot serve; the message is one complete line."""


class UnknownNameError(HorizonError, LookupError):
    """No strategy, suite or backbone has this name."""


class RegistryError(HorizonError, ImportError):
    """An entry point that cannot be loaded, is of the wrong type, or collides with another one."""


class KnobError(HorizonError, ValueError):
    """A strategy knob that does not exist, has the wrong type, is out of range, or contradicts another one."""


class BudgetError(KnobError):
    """A number of bytes at which a strategy cannot be; the message is the reason."""


class ShapeError(HorizonError, ValueError):
    """A tensor of the wrong shape, or a number of frames that the chunk does not divide."""


class PresetError(HorizonError, ValueError):
    """A way to sample that cannot be: steps outside of the schedule, a chunk of no frames, an unknown layout."""


class DtypeError(HorizonError, ValueError):
    """A data type that the backbone does not compute in."""


class NotFiniteError(HorizonError, ValueError):
    """NaN or infinity in what a rollout was given."""


class HorizonTooLongError(HorizonError, MemoryError):
    """A horizon that this strategy cannot hold on this device."""


class SwitchError(HorizonError, ValueError):
    """A prompt switch that cannot take effect, or of an unknown kind."""


class ResumeError(HorizonError, ValueError):
    """A saved state that does not belong to this rollout."""


class CheckpointError(HorizonError, ValueError):
    """A checkpoint that is missing, damaged, unsafe to load, or of another architecture."""


class PromptError(HorizonError, ValueError):
    """A prompt, or a script of prompts, that a backbone cannot read."""


class StoreError(HorizonError, OSError):
    """A campaign folder that cannot be read, or that belongs to another campaign."""


class BaselineError(HorizonError, ValueError):
    """A baseline or policy that cannot be read, or that was changed by hand."""


class TreeError(HorizonError, RuntimeError):
    """A checkout that cannot be found, or whose code cannot be measured."""


class CampaignError(HorizonError, ValueError):
    """A campaign that asks for what there is not."""


class MeasurementError(HorizonError, RuntimeError):
    """A measurement whose numbers must not count: the device was busy, or what was drawn is not a video."""


def why(error: Exception) -> str:
    """What went wrong, in a line: in Horizon's words where it has some, else with the kind of the error."""
    words = " ".join(str(error).split())
    return words if isinstance(error, HorizonError) and words else f"{type(error).__name__}: {words}".rstrip(": ")
