"""From a unit back to the pixels."""
