"""Whether a model is fit to serve, found out in a process that may die of it. Only `preflight` is the daemon's."""
