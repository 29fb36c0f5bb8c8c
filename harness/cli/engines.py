"""Who runs the cells of `horizon run`: this process alone, or workers beside it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import CampaignError

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.campaign.campaign import Campaign
    from harness.cli.console.ticker import Ticker
    from harness.engines.inline import Look
    from harness.store.store import Store


class Crew:
    """The processes that run a campaign, this one included; it sets the CPU threads of this process.

    Parameters
    ----------
    asked
        The campaign.
    threads
        CPU threads of each process as requested; None for the usual number.

    Attributes
    ----------
    name
        Name of the run, which all its processes share.
    worker
        Whether another process has started this one.
    places
        A place for each process, that of this process first.
    measuring
        CPU threads with which cells of cost suites are measured.

    Raises
    ------
    CampaignError
        There are more workers than devices, or more than one for an engine of one process.
    """

    def __init__(self, asked: Campaign, threads: int | None) -> None:
        import torch

        from harness.engines.devices import Place, given_threads, places
        from harness.engines.processes import run_name

        started = run_name()
        self.name, self.worker = started or uuid.uuid4().hex, started is not None
        if asked.engine == "inline":
            if asked.workers not in ("auto", 1):
                raise CampaignError(f"--engine inline is one process, not {asked.workers}; give --engine processes")
            self.places = [Place("", 0)]
        else:
            self.places = places(asked.device, asked.workers, threads)
        if threads:
            torch.set_num_threads(threads)
        self.measuring = torch.get_num_threads()
        share = (given_threads() if self.worker else self.places[0].threads) if threads is None else None
        if share is not None:
            torch.set_num_threads(share)

    @property
    def shared(self) -> bool:
        """Whether several processes run the campaign."""
        return self.worker or len(self.places) > 1


def run_cells(
    crew: Crew, store: Store, stage: Backbone, looks: Sequence[Look], ticker: Ticker, options: Mapping[str, Any]
) -> list[str]:
    """Run the cells of a campaign, and return the names of the workers that ended with an error.

    Parameters
    ----------
    crew
        The processes that run it.
    store, stage
        The campaign's folder and the opened backbone.
    looks
        All cells, with what is done with each.
    ticker
        Is told of progress.
    options
        Further options of `harness.engines.inline.run`.
    """
    from harness.engines.inline import prepare, run
    from harness.engines.order import longest_first
    from harness.engines.processes import workers

    planned = [look.cell for look in looks]
    if len(crew.places) > 1:
        # Workers start when all prompts are encoded: the text encoder needs the memory that they would take.
        prepare(stage, (look.cell for look in looks if look.due))
    with workers(crew.places[1:], crew.name, store.flight, ticker.warn) as team:
        run(
            store,
            stage,
            longest_first(planned) if crew.shared else planned,
            name=crew.name,
            threads=crew.measuring,
            report=ticker.step,
            done=ticker.done,
            **options,
        )
    return team.dead
