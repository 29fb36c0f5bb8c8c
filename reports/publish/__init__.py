"""Reports for others: a page that follows a running campaign, a site of many campaigns, a dataset."""
