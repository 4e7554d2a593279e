"""Pixels in: cameras, videos, folders of pictures, data sets."""
