"""Statistics: intervals, paired tests, and comparisons of all arms."""
