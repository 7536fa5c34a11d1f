"""What each MCP method does: one function a method, and in `table` one table an era.

Pure. A function reads its parameters, then answers at once or starts a handler; it raises Failure for what the
peer did wrong.
"""
