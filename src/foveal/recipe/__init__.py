"""What to do: recipes, the built-in ones, and changes to them."""
