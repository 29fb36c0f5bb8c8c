"""Input and output of the command line: checks of options, tables, progress, and messages of errors."""
