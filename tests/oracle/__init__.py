"""Independent reference for rollouts: the specification in plain loops, sharing no code with the package."""
