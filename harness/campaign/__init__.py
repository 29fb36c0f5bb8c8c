"""Campaigns: what to run, expanded to cells, and what is said of them before and after."""

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
