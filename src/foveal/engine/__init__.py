"""Foveal's own kernels, in C, for what torch has no fast kernel for. Each machine compiles its own."""
