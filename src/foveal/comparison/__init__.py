"""Figures of several runs to verdicts: which is better, or that the images cannot tell."""
