"""What the coordinator decides: events in, actions out, without input or output of its own."""
