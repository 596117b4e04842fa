"""The report on a finished job: what is on its disk, read, accounted for, and drawn."""
