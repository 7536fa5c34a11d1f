"""What psutil cannot see, read from sysfs, procfs and one socket: a class a kernel subsystem.

Each finds what is there at its first read and again every `RESCAN_S`, keeps its descriptors open, and yields a `Raw`
for everything it found, known or not. All of it runs in the sampling thread; the file system's root is an argument.
"""
