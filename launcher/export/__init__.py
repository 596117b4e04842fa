"""The frames of a job, told to labelling tools in the formats that they read."""
