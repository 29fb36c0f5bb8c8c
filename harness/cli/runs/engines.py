"""The processes that run the cells of `horizon run`: this process alone, further workers, or a cluster of Ray."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import CampaignError
from harness.shards import Share, share

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
    shard
        "K/N", the part with which this process begins; None to take it from the environment of a job.

    Attributes
    ----------
    name
        Name of the run, which all its processes share.
    worker
        Whether another process reports for this one: the one that has started it, or the first one of a job.
    share
        Which of the equal processes of a job this one is.
    places
        A place for each process, that of this process first.
    measuring
        CPU threads with which cells of cost suites are measured.

    Raises
    ------
    CampaignError
        There are more workers than devices, or more than one for an engine of one process.
    """

    def __init__(self, asked: Campaign, threads: int | None, shard: str | None = None) -> None:
        import torch

        from harness.engines.processes import run_name
        from harness.engines.sharing.devices import Place, given_threads, pin, places

        started = run_name()
        self.asked, self.threads = asked, threads
        self.share = share(shard) if started is None else Share()
        self.engine: str | None = asked.engine
        self.name = started or self.share.job or uuid.uuid4().hex
        self.worker = started is not None or self.share.index > 0
        if self.share.local is not None:
            pin(asked.device, self.share.local)
            # A process for each device is there already.
            self.engine = self.engine or ("inline" if asked.workers == "auto" else None)
        if asked.address is not None and self.engine != "ray":
            raise CampaignError(f"--address {asked.address}: only --engine ray has one")
        if self.engine == "ray":
            self.places = [Place("", 0)]
        elif self.engine == "inline":
            if asked.workers not in ("auto", 1):
                raise CampaignError(f"--engine inline is one process, not {asked.workers}; give --engine processes")
            self.places = [Place("", 0)]
        else:
            self.places = places(asked.device, asked.workers, threads)
        if threads:
            torch.set_num_threads(threads)
        self.measuring = torch.get_num_threads()
        fewer = given_threads() if started is not None else self.places[0].threads
        if threads is None and fewer is not None:
            torch.set_num_threads(fewer)

    def stage(self) -> Backbone:
        """Return the campaign's backbone, opened on its device, or on the CPU of a driver of Ray that has no GPU."""
        import torch

        if self.engine == "ray" and not torch.cuda.is_available():
            return self.asked.model_copy(update={"device": "cpu"}).stage()
        return self.asked.stage()

    @property
    def shared(self) -> bool:
        """Whether several processes run the campaign."""
        return self.worker or len(self.places) > 1 or self.share.count > 1


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
        Shows the progress.
    options
        Further options of `harness.engines.inline.run`.
    """
    if crew.engine == "ray":
        return _on_ray(crew, store, stage, looks, ticker, options)
    from harness.engines.inline import prepare, run
    from harness.engines.processes import workers
    from harness.engines.sharing.order import from_shard, longest_first

    planned = [look.cell for look in looks]
    if crew.shared:
        planned = from_shard(longest_first(planned), crew.share.index, crew.share.count)
    if len(crew.places) > 1:
        # Workers start when all prompts are encoded: the text encoder needs the memory that they would take.
        prepare(stage, (look.cell for look in looks if look.due))
    with workers(crew.places[1:], crew.name, store.flight, ticker.warn) as team:
        run(
            store,
            stage,
            planned,
            name=crew.name if crew.shared else None,
            threads=crew.measuring,
            report=ticker.step,
            done=ticker.done,
            **options,
        )
    return team.dead


def _on_ray(
    crew: Crew, store: Store, stage: Backbone, looks: Sequence[Look], ticker: Ticker, options: Mapping[str, Any]
) -> list[str]:
    """Run the cells on a cluster of Ray. Parameters are as in `run_cells`."""
    from harness.campaign.expansion import manifest
    from harness.engines.ray.driver import run_on_ray
    from harness.engines.sharing.order import longest_first

    known = {look.cell.id: look for look in looks}
    planned = [look.cell for look in looks]
    return run_on_ray(
        crew.asked.address,
        crew.asked,
        crew.threads or 1,
        store,
        stage,
        [known[cell.id] for cell in longest_first(planned)],
        manifest(crew.asked, stage, planned, store.manifest()["name"]),
        crew.name,
        {name: options[name] for name in ("timeout", "save_every", "lossless")},
        ticker.done,
        ticker.warn,
    )
