"""Campaigns: requests, their expansion to cells, checks before a run, and the status of a folder."""

from harness.campaign.campaign import EQUAL, PUBLISHED, Campaign, make_campaign, read_campaign
from harness.campaign.expansion import Arm, Cell, absent, arms, cells, manifest

__all__ = [
    "EQUAL",
    "PUBLISHED",
    "Arm",
    "Campaign",
    "Cell",
    "absent",
    "arms",
    "cells",
    "make_campaign",
    "manifest",
    "read_campaign",
]
