"""The coordinator: catalogue, cutting, scheduling core, journal, and the loop that serves hosts."""

if __name__ != "framefleet.coordinator":  # else there would be two of each of its modules
    raise ImportError("this folder is the package framefleet.coordinator: import it by that name")
