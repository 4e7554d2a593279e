"""Inputs: cameras, videos, folders of pictures, data sets."""
