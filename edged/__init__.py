"""edged: one process on a board that agents and operators talk MCP to.

Pure code decides, adapters touch the world, services wait, the daemon wires. Imports run one way:
cli > daemon > tools > config > rooms > ground; `docs/ARCHITECTURE.md` draws it.
"""

__version__ = "0.1.0"
