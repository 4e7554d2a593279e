"""The live toolbox in a window, and its picture without a window."""
