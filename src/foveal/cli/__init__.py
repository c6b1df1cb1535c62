"""The command line: parse, call, print, exit code. A module a group of verbs."""
