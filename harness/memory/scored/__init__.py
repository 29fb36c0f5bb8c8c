"""Memories that keep the tokens with the highest scores: whoever writes one says how tokens are scored.

`Scored` is a strategy whose subclasses define `scores`; everything else is here: which tokens are kept and which leave,
how often a token may be chosen, where tokens stand, bytes, states, and what the method is at other bytes.
`ScoredMemory` is the memory behind it, also for strategies that choose at another time or by another rule of eviction.
"""

from harness.memory.scored.choice import check_queries_meet_keys, check_reuse, choose, take
from harness.memory.scored.layer import ScoredLayer
from harness.memory.scored.memory import Parts, Places, ScoredMemory, scored_bytes
from harness.memory.scored.strategy import MaxReuse, Scored
from harness.memory.scored.tokens import Tokens

__all__ = [
    "MaxReuse", "Parts", "Places", "Scored", "ScoredLayer", "ScoredMemory", "Tokens", "check_queries_meet_keys",
    "check_reuse", "choose", "scored_bytes", "take",
]  # fmt: skip
