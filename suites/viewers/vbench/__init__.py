"""The VBench-Long viewer."""
