"""Models and what runs them: what a model is, where it lives, how an input becomes an answer.

Only `runtime` and `preflight` know TFLite, only `kernels` numba. Nothing here knows MCP, power or keys:
a request comes in as a value, `Limits` as a `Latest`, and an answer goes out as a value.
"""
