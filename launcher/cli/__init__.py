"""The command line: which command, which options, and a job from its options to its end."""

DEFAULT_OUTPUT = "output"
