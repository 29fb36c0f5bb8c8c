"""All blocks of a pass as one region without a graph break: nothing in a pass keeps it from being recorded."""

from __future__ import annotations

import pytest
import torch

from harness import registry
from harness.memory import At
from harness.rollout.passes import Passes
from harness.verify.bench import Workbench

pytestmark = pytest.mark.dry
BOUNDED = [name for name in registry.found("strategies") if registry.strategy_class(name).bounded]


class Seen(Exception):  # noqa: N818
    """The pass was looked at; the rollout need not go on."""


@pytest.mark.parametrize("name", BOUNDED)
def test_the_blocks_of_a_pass_are_one_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = registry.strategy(name)
    if strategy.reads_query:
        pytest.skip("it recalls inside of the layers, with the query")
    bench = Workbench(strategy)
    found: list[torch._dynamo.utils.ExplainOutput] = []
    last = bench.chunks - 1
    denoise = Passes.denoise

    def looked_at(passes: Passes, latents: torch.Tensor, time: object, at: At, ends: bool) -> None:
        contexts = [passes._laid_out[layer] for layer in range(passes.spec.layers)]
        torch._dynamo.reset()

        def region(latents: torch.Tensor) -> object:
            return passes.model(latents, time, passes.prompt, lambda layer: contexts[layer], ends)

        found.append(torch._dynamo.explain(region)(latents))

    def denoised(passes: Passes, latents: torch.Tensor, time: object, at: At) -> torch.Tensor:
        flow = denoise(passes, latents, time, at)  # type: ignore[arg-type]
        if at.start == last * bench.chunk and at.pass_index == 0:
            looked_at(passes, latents, time, at, ends=False)
            looked_at(passes, latents, time, at, ends=True)
            raise Seen
        return flow

    monkeypatch.setattr(Passes, "denoise", denoised)
    with pytest.raises(Seen):
        bench.latents()
    assert [told.graph_break_count for told in found] == [0, 0], [told.break_reasons for told in found]
    assert [told.graph_count for told in found] == [1, 1]
