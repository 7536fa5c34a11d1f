"""What this device offers over MCP: one file per room it exposes.

A tool turns arguments into a room's request and the room's answer into a result; it decides nothing.
"""
