"""Rollouts without numbers, to distinguish those that are missing in two runs from those missing in one."""

from __future__ import annotations

from reports.gate.evidence import Evidence
from reports.tables import Trouble


class Numbers:
    """Rollouts of a run that have numbers, and cells that have none."""

    def __init__(self, evidence: Evidence) -> None:
        self.troubles = {(each.place, each.frames, each.rollouts) for each in evidence.troubles}
        self.places = {each.place for each in evidence.troubles}
        columns = evidence.scores[["arm", "suite", "scenario", "prompt", "seed"]].drop_duplicates()
        self.there = {tuple(row) for row in columns.itertuples(index=False, name=None)}

    def lack(self, trouble: Trouble) -> bool:
        """Return whether a cell of another run has no numbers in this run either. One that was not run here is judged
        by the other cells of its arm, suite and scenario."""
        if (trouble.place, trouble.frames, trouble.rollouts) in self.troubles:
            return True
        return trouble.place in self.places and not any(
            (*trouble.place, *each) in self.there for each in trouble.rollouts
        )
