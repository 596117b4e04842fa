"""Files that are written whole, reached without leaving their folder, or temporary."""
