"""Many runs: compared, repeated, searched."""
