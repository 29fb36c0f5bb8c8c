"""Reports: tables, statistics, plots and pages made from what a campaign measured."""
