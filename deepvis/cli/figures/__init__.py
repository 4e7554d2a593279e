"""The figures of `deepvis figure`, a module each."""
