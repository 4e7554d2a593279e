"""Facets: the different things that one unit responds to (Nguyen, Yosinski & Clune 2016).

Nguyen, Yosinski and Clune, "Multifaceted Feature Visualization: Uncovering the Different Types of Features Learned By
Each Neuron in Deep Neural Networks", Algorithm 1.
"""
