"""Memory strategies, one file each; the registry finds them through entry points."""
