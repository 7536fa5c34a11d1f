"""Tensors to findings: what a model saw or heard, in the picture's own pixels and in real units."""
