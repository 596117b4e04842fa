"""The coordinator: catalogue, cutting, scheduling core, journal, and the loop that serves hosts."""
