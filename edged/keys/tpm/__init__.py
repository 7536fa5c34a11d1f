"""The TPM 2.0, through one thread that owns its context; nothing outside knows its library.

`opening` is how it is reached: it alone imports the rest, which needs tpm2-pytss, when a TPM is wanted.
"""
