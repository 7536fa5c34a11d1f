"""Heat, battery, supply and memory: what they read, and how much work that leaves room for.

`sensors` is the only module that knows psutil; `sources` read what psutil cannot see; what decides (`governor`,
`bands`, `ledger`, `boards`, `calm`) is pure. Only our own work is limited, never the kernel's governors.
"""
