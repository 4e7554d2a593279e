"""What works beside the loop: the newest wish, the newest answer."""
