"""The local page of runs."""
