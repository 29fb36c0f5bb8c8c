"""A gate within one run: an arm is compared with another arm of the same campaign."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from harness.errors import BaselineError, did_you_mean
from reports.arms import entrant_of
from reports.gate.evidence import Evidence
from reports.statistics.baseline import named


def beside(evidence: Evidence, name: str) -> tuple[Evidence, Evidence]:
    """Return a run in the form in which the gate compares it with one of its own arms.

    Parameters
    ----------
    evidence
        A run.
    name
        The arm that the others must match: a label, a strategy, or NAME.KNOB=VALUE.

    Returns
    -------
    head, base
        The other arms; and the numbers of the named arm, under each of their names. Both are of one campaign, whose
        repeats were measured in turn, so they are paired. Scenarios that an arm does not run are not expected of it.

    Raises
    ------
    BaselineError
        Where the name is neither a file nor an arm, or fits several arms.
    """
    field = [entrant_of({"tables": (), "strategy": arm["label"], **arm}) for arm in evidence.manifest["asked"]["arms"]]
    found = named(field, name)
    labels = [entrant.label for entrant in field]
    if len(found) != 1:
        if found:
            several = ", ".join(entrant.label for entrant in found)
            raise BaselineError(f"--baseline {name}: several arms of this run have this name; give one of: {several}")
        raise BaselineError(
            f"--baseline {name}: no such file, and no arm of this run{did_you_mean(name, labels)}; its arms: "
            f"{', '.join(labels)}; a run becomes a file with: horizon baseline accept"
        )
    arm = found[0].label
    scores = evidence.scores
    mine, theirs = scores[scores["arm"] != arm], scores[scores["arm"] == arm]
    others = list(dict.fromkeys(mine["arm"]))
    keys = ["suite", "scenario", "horizon_latent_frames"]
    parts = []
    for other in others:
        asked = mine.loc[mine["arm"] == other, keys].drop_duplicates()
        parts.append(theirs.merge(asked, on=keys).assign(arm=other)[list(scores.columns)])
    base = pd.concat(parts, ignore_index=True) if parts else theirs.iloc[:0]
    troubles = tuple(each._replace(arm=other) for each in evidence.troubles if each.arm == arm for other in others)
    manifest = {**evidence.manifest, "beside": f"{evidence.source}"}
    return (
        replace(
            evidence,
            manifest=manifest,
            scores=mine,
            troubles=tuple(trouble for trouble in evidence.troubles if trouble.arm != arm),
        ),
        replace(evidence, manifest=manifest, scores=base, troubles=troubles, accepted=()),
    )
