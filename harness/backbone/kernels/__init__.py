"""What computes attention and matrix products."""
