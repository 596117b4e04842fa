"""From a range of frames of a video to image files."""
