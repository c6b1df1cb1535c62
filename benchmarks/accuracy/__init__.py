"""How accurate the recipes become, and what each of their parts contributes."""
