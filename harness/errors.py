"""Exceptions of Horizon. Each message says what was given, what is allowed, and what to do.

All exceptions derive from `HorizonError`, which the command line prints as one line (exit code 2). Each also derives
from the built-in exception that a caller of the Python API would expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is most similar to an unknown one; "" where none is similar.

    The hint is written to follow the unknown name in a message.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def shown(value: object, most: int = 60) -> str:
    """Return a wrong value as text for a message, cut to `most` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python refuses to convert integers of thousands of digits to text.
        text = "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."


class HorizonError(Exception):
    """A request that Horizon cannot serve; the message is one complete line."""


class UnknownNameError(HorizonError, LookupError):
    """No strategy, suite or backbone has this name."""


class RegistryError(HorizonError, ImportError):
    """An entry point cannot be loaded, is of the wrong type, or has the same name as another one."""


class KnobError(HorizonError, ValueError):
    """A strategy's knob does not exist, has the wrong type, is out of range, or contradicts another knob."""


class BudgetError(KnobError):
    """A strategy cannot be configured for this number of bytes; the message is the reason."""


class ShapeError(HorizonError, ValueError):
    """A tensor has the wrong shape, or a number of frames is not a multiple of the chunk."""


class PresetError(HorizonError, ValueError):
    """Sampling settings are invalid: steps outside the schedule, a chunk of zero frames, an unknown layout."""


class DtypeError(HorizonError, ValueError):
    """The backbone does not compute in this data type."""


class NotFiniteError(HorizonError, ValueError):
    """An input of a rollout contains NaN or infinity."""


class HorizonTooLongError(HorizonError, MemoryError):
    """The memory of this strategy does not fit on this device at the requested horizon."""


class SwitchError(HorizonError, ValueError):
    """A prompt switch cannot take effect, or is of an unknown kind."""


class ResumeError(HorizonError, ValueError):
    """A saved state does not belong to this rollout."""


class CheckpointError(HorizonError, ValueError):
    """A checkpoint is missing, damaged, unsafe to load, or of another architecture."""


class PromptError(HorizonError, ValueError):
    """A backbone cannot read a prompt or a script of prompts."""


class StoreError(HorizonError, OSError):
    """A campaign's folder cannot be read or written, or belongs to another campaign."""


class BaselineError(HorizonError, ValueError):
    """A baseline or policy cannot be read, or was changed by hand."""


class TreeError(HorizonError, RuntimeError):
    """A checkout cannot be found, or its code cannot be measured."""


class CampaignError(HorizonError, ValueError):
    """A campaign requests something that does not exist or is not allowed."""


class MeasurementError(HorizonError, RuntimeError):
    """A measurement is invalid: for instance, the device was busy, or the generated frames are not a video."""


def why(error: Exception) -> str:
    """Return an error as one line: the message of a HorizonError as it is, any other after the name of its type."""
    words = " ".join(str(error).split())
    return words if isinstance(error, HorizonError) and words else f"{type(error).__name__}: {words}".rstrip(": ")
