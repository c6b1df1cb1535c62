"""More epochs for a run: where its schedule allows it, the result is that of a run begun with so many."""

from foveal import progress
from foveal.errors import RecipeError, RunError
from foveal.files.atomic import outside_faults
from foveal.files.events import Extended, Planned
from foveal.files.run_folder import RunFolder, find_free_name
from foveal.recipe.overrides import Settings, apply_settings, describe_changes
from foveal.recipe.recipe import Recipe
from foveal.run.moved_data import make_training_command
from foveal.run.run import Run


def plan_extension(run: Run, settings: Settings) -> Recipe | None:
    """Return the recipe of a run with another number of epochs, or None if nothing is to change.

    Raises:
        RecipeError: Another setting than the number of epochs is to change.
        RunError: The run cannot go on to so many epochs. The message says why, and how to train anew.
    """
    if not settings:
        return None
    recipe = Recipe.from_json(run.folder.recipe)
    extended, changed = apply_settings(recipe, settings)
    anew = make_training_command(run.path, run.folder.environment, [f"epochs={extended.epochs}"])
    others = [path for path in changed if path != "epochs"]
    if others and describe_changes(recipe.to_json(), extended.to_json()):
        raise RecipeError(
            f"the setting {others[0]} cannot change while a run goes on, only epochs can; train anew, with "
            f"another --set: {make_training_command(run.path, run.folder.environment)}"
        )
    if extended == recipe:
        return None
    reason = _find_obstacle(run.folder, recipe, extended.epochs)
    if reason is not None:
        raise RunError(f"{run.path} cannot go on to {extended.epochs} epochs: {reason}; train anew: {anew}")
    return extended


def begin_extension(folder: RunFolder, recipe: Recipe) -> None:
    """Record the new number of epochs. What was measured before moves to a folder of its own.

    The recipe comes last: until it is written, `resume` brings the run to its old end again.
    """
    before = Recipe.from_json(folder.recipe)
    folder.add_event(Extended(epochs=recipe.epochs, before=before.epochs))
    results = (folder.model, folder.evaluation, folder.predictions, folder.plots, folder.report)
    existing = [path for path in results if path.exists()]
    if existing:
        aside = find_free_name(folder.path / f"after-{before.epochs}-epochs")
        with outside_faults(aside):
            aside.mkdir()
            for path in existing:
                path.rename(aside / path.name)
        progress.line(f"what was measured after {before.epochs} epochs, and the model of then: {aside}")
    folder.replace_recipe(recipe.to_json())


def was_extended(folder: RunFolder, recipe: Recipe) -> bool:
    """Return whether the number of epochs is one that the run was extended to."""
    return any(isinstance(event, Extended) and event.epochs == recipe.epochs for event in folder.events())


def _find_obstacle(folder: RunFolder, recipe: Recipe, epochs: int) -> str | None:
    """Return why a run cannot become one of so many epochs, or None if it can."""
    history = folder.history()
    n_trained = len(history)
    if any(isinstance(event, Planned) for event in folder.events()):
        return "it was planned for a time budget, which decides the steps and their learning rates"
    if recipe.anneal is not None:
        return (
            f"its learning rate falls to zero over all {recipe.epochs} epochs (anneal), "
            f"so each epoch would have been another one"
        )
    if recipe.low_resolution is not None:
        return (
            f"a share of all {recipe.epochs} epochs trains at low resolution, so their order would be another"
        )
    if recipe.steps is not None:
        return f"its recipe ends after {recipe.steps} steps"
    if epochs <= n_trained:
        return f"{n_trained} are trained already"
    if folder.finished and n_trained < recipe.epochs:
        return (
            f"it stopped early after epoch {n_trained}, and would do so again; "
            f"a larger early_stopping.patience needs another training"
        )
    every = recipe.validate_every
    if n_trained >= recipe.epochs and (every is None or recipe.epochs % every):
        return (
            f"its last epoch was validated because it was the last (validate_every), which a run of {epochs} "
            f"epochs would not have done"
        )
    return None
