"""Learned priors: generator networks are trained here; `deepvis.synthesis.generator` is what they are."""
