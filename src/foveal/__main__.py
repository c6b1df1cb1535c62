"""`python -m foveal` is the command `foveal`."""

from foveal.cli.main import entry

entry()
