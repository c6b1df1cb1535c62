"""Weights -> measured claims."""
