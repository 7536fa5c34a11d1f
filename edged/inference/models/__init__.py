"""Model versions on disk: what is admitted, what serves, what is barred. All of it survives a power cut."""
