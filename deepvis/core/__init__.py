"""Values and helpers that all rooms use. No torch, no threads."""
