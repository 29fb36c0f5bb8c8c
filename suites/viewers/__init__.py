"""Looking at finished videos from another environment: what a campaign hands over, and what comes back, are files.

Nothing in here but what a viewer itself needs is imported at the top: a viewer's environment has torch, numpy and av,
and neither Horizon's other dependencies nor their versions.
"""
