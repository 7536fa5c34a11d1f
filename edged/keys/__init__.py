"""The device's secrets: where they live, what they protect, and who this device is.

Everything hangs off one root secret and one identity key, held by a backend: the TPM, systemd's credentials, or a file.
"""
