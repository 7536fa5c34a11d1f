"""How bytes come in and go out. A link frames, identifies the peer, and does nothing else."""
