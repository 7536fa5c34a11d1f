"""Builds the Debian package: one per architecture and distribution, since it carries a venv of that Python.

Standard library only; run by `./dev deb`, never shipped.
"""
