"""The `edged` command: one file per group of sub-commands, heavy imports inside the functions."""
