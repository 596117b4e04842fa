"""From the files of a unit to the host's output: staged, committed, published once."""
