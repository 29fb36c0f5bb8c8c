"""The plain viewer: measures of the pictures themselves, which need no other model."""
