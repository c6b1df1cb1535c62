"""Foveal's own arithmetic: kernels in C for what torch has no fast kernel for, compiled where they run."""
