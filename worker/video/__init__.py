"""A video file: opened, probed, read in packets, cut at its GOPs, decoded."""
