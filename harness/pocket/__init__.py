"""The embedded backbone: a small trained model of a procedural world whose truth is known."""
