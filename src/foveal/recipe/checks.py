"""The check that every part of a recipe makes on its own values."""

from foveal.errors import RecipeError


def require(condition: bool, message: str) -> None:
    """Raise a `RecipeError` with the message unless the condition holds."""
    if not condition:
        raise RecipeError(message)
