"""The engine that runs cells on a cluster of Ray: an actor on each device, driven by the process of the command."""
