"""Viewers: programs that measure finished videos in an environment of their own and exchange files with a campaign.

Modules import at the top only what a viewer itself needs: a viewer's environment has torch, numpy and av, but neither
Horizon's other dependencies nor their versions.
"""
