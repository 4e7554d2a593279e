"""Top images and statistics of every unit, from any folder of images, as an index of small arrays."""
