"""Values that all parts speak of. No torch, no threads."""
