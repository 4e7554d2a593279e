"""What the user wants to see. Pure: no window, no thread."""
