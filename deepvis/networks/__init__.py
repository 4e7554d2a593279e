"""Any module, made watchable."""
