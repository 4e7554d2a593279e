"""What lies on the disk: images of units, and the original toolbox's folders."""
