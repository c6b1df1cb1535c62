"""Which of several runs or recipes is better, and whether the images suffice to tell."""
