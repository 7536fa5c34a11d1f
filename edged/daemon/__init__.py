"""The composition root: every room is built here, started here, and stopped here in exact reverse.

What a room needs of another is handed to it here and nowhere else.
"""
