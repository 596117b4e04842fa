"""Whether an output is what its manifest says, and whether its frames are those of the videos."""
