"""Heat, battery and supply: what they read, and how much work that leaves room for.

`sensors` is the only module that knows psutil; what decides is pure.
"""
