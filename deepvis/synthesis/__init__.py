"""Preferred images of units, made by gradient ascent.

start → parameterization → transforms → network → objective → gradient step → regularizers.
Each of these is a table of small functions; a Recipe says which are used, and how strongly.
"""
