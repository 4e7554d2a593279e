"""The images that a unit prefers, made by gradient ascent.

start → parameterization → transforms → network → objective → gradient step → regularizers;
each of them is a table of small functions, and a Recipe says which are used and how strongly.
"""
