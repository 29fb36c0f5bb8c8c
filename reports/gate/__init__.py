"""The gate: decides whether a run is worse than its baseline by enough to matter and by more than chance explains."""
