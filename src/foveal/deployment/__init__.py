"""Weights -> use."""
