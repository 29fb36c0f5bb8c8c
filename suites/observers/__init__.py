"""What sees the chunks of a rollout and gives samples."""
