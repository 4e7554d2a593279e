"""The window, its keys, and the recorder."""
