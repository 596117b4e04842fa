"""From a decoded picture to the bytes of an image."""
