"""What the bits of a video say without decoding it: which frames nothing refers to, and how many bits."""
