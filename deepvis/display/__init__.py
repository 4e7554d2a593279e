"""Where pictures go and events come from."""
