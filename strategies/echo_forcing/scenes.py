"""Scene memory: the representative frame of a scene, and the choice of the earlier scene that a prompt means.

Paper: Echo-Forcing, arXiv:2605.16003, scene recall frames and scene pool; word lists and thresholds of the matching
from the released code.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from harness.memory import Entries

RecallFrame = Literal["score_weighted", "token_select"]
Matching = Literal["similar", "idf"]
Encode = Callable[[Sequence[str]], Tensor]

COMMON = 0.7
"""A word in this share of the prompts does not distinguish scenes."""
STOP_WORDS = re.findall(
    "[a-z]+",
    "about above after again against all along also and another any are around because been before behind being below "
    "beneath beside between both but can could does down during each few for from further had has have having her here "
    "hers him his how into its itself just like more most near nor not now off once one only onto other our out over "
    "own same she should some such than that the their them then there these they this those through toward towards "
    "under until upon very was were what when where which while who whose why will with within without would you your",
)


def recall_frame(
    frames: Sequence[Entries], keys: Sequence[Tensor], query: Tensor, how: RecallFrame, base: float
) -> Entries:
    """Return one frame made from a scene's candidates, place by place, entries un-rotated.

    frames: [B, 1, S, ...] each, the first is the base. keys: their keys, [B, 1, S, heads, channels]. query: mean query
    of the scene, [B, heads, channels]. A candidate's score at a place is the mean over heads of key times query.
    "score_weighted" sums the candidates, weighted by the softmax of their scores, and mixes the sum with `base` of the
    first candidate; "token_select" takes the candidate with the highest score.
    """
    scores = torch.stack([(key[:, 0].to(query.dtype) * query[:, None]).sum(-1).mean(-1) for key in keys])  # [F, B, S]
    if how == "token_select":
        weights = torch.zeros_like(scores).scatter_(0, scores.argmax(0, keepdim=True), 1.0)
        base = 0.0
    else:
        weights = scores.softmax(0)
    mixed = []
    for tensors in zip(*(frame.tensors for frame in frames), strict=True):
        first = tensors[0]
        shares = weights.reshape(*weights.shape[:2], 1, weights.shape[2], *[1] * (first.ndim - 3))
        whole = base * first.to(query.dtype)
        for share, x in zip(shares, tensors, strict=True):
            whole = whole + (1 - base) * share * x.to(query.dtype)
        mixed.append(whole.to(first.dtype))
    return Entries(*mixed)


def words(prompt: str) -> list[str]:
    """Return the content words of a prompt: words of three letters and more, without stop words."""
    found = re.findall(r"[a-zA-Z][a-zA-Z']+", prompt.lower())
    return [word for word in found if len(word) > 2 and word not in STOP_WORDS]


def telling(prompts: Sequence[str], corpus: Sequence[str]) -> list[str]:
    """Return prompts without the words that most of the corpus has; a prompt with no other words stays whole."""
    common = Counter(word for prompt in corpus for word in set(words(prompt)))
    limit = max(2, int(COMMON * len(corpus) + 0.999))
    kept = [" ".join(word for word in words(prompt) if common[word] < limit) for prompt in prompts]
    return [few or prompt for few, prompt in zip(kept, prompts, strict=True)]


def features(prompts: Tensor) -> Tensor:
    """Return the mean over the rows that are not padding, normalised: [N, L, D] -> [N, D]."""
    there = (prompts != 0).any(-1, keepdim=True).to(prompts.dtype)
    mean = (prompts * there).sum(1) / there.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=-1)


def similar(asked: str, scenes: Sequence[str], corpus: Sequence[str], encode: Encode) -> list[float]:
    """Return the cosine of a prompt's distinctive words and each scene's, in the text encoder's embedding."""
    found = features(encode(telling([asked, *scenes], corpus)).float())
    return (found[1:] @ found[0]).tolist()


def idf(asked: str, scenes: Sequence[str], corpus: Sequence[str]) -> list[float]:
    """Return the cosine of tf-idf vectors of a prompt and each scene; needs no encoder."""
    seen = Counter(word for prompt in corpus for word in set(words(prompt)))

    def weighted(prompt: str) -> dict[str, float]:
        counts = Counter(words(prompt))
        raw = {
            word: (1 + math.log(count)) * (math.log((1 + len(corpus)) / (1 + seen[word])) + 1)
            for word, count in counts.items()
        }
        length = math.sqrt(sum(value**2 for value in raw.values())) or 1.0
        return {word: value / length for word, value in raw.items()}

    query = weighted(asked)
    return [sum(value * query.get(word, 0.0) for word, value in sorted(weighted(prompt).items())) for prompt in scenes]


def recall_jump(scores: Sequence[float], chosen: int, least: int, most: int) -> int:
    """Return the jump of a recalled scene's first chunk, larger the less the recalled scene resembles the prompt."""
    off = [1 - score for score in scores]
    share = off[chosen] / sum(off) if sum(off) > 0 else 0.0
    return round(least + min(max(share, 0.0), 1.0) * (most - least))
