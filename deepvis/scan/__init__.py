"""Scanning a data set: each unit's top images and statistics, stored as an index of small arrays."""
