"""Forward and backward passes: a layer's activations, and backward images of a unit."""
