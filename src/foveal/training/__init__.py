"""Batches -> trained weights."""
