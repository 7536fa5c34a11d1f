"""Bytes of the world to arrays: pictures and sounds, their sizes known and bounded before they are decoded."""
