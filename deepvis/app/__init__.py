"""The loop, with a window and without."""
