"""Observers, which see the chunks of a rollout and return samples."""
