"""Images of units on the disk: the stores of synthesized images, and the original toolbox's folders."""
