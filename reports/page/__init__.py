"""The page of a report: what report.html shows, as data, and its parts."""
