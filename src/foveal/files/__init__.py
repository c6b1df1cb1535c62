"""Typed JSON, tensor files, the run folder and its lock: how anything gets onto the disk and back."""
