"""Engines that run the cells of a campaign: in this process, in workers, or in a process per cell."""
