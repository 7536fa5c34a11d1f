"""What was asked of this device and what it decided, in a chain of hashes that shows every later change.

A record is on disk before an operator's act has its effect; an act that cannot be recorded does not happen, unless it
makes room on the disk. Payloads, pictures, keys and tokens are never in a record: their sizes and hashes are.
"""
