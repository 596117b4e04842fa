"""The output folder: locked, merged from the hosts' outputs, proved, gone on with."""
