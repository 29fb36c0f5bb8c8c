"""Which rollouts a run has numbers of, so that what has none in two runs can be told from what has none in one."""

from __future__ import annotations

from reports.gate.evidence import Evidence
from reports.tables import Trouble


class Numbers:
    """Which rollouts a run has numbers of, and which cells it has none of."""

    def __init__(self, evidence: Evidence) -> None:
        self.troubles = {(each.place, each.frames, each.rollouts) for each in evidence.troubles}
        self.places = {each.place for each in evidence.troubles}
        columns = evidence.scores[["arm", "suite", "scenario", "prompt", "seed"]].drop_duplicates()
        self.there = {tuple(row) for row in columns.itertuples(index=False, name=None)}

    def lack(self, trouble: Trouble) -> bool:
        """Whether this cell of another run has no numbers here either; one that was not run here is judged by the
        others in its place."""
        if (trouble.place, trouble.frames, trouble.rollouts) in self.troubles:
            return True
        return trouble.place in self.places and not any(
            (*trouble.place, *each) in self.there for each in trouble.rollouts
        )
