"""The TPM 2.0, through one thread that owns its context; nothing outside knows its library."""
