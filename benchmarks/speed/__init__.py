"""How fast Foveal is, and how much memory it takes."""
