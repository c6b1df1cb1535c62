"""Figures to sentences, pictures and pages."""
