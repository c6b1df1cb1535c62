"""Whether intervals and tests keep their promises, on real runs and on simulated ones."""
