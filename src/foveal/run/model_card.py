"""The README of a model folder."""

from foveal import progress
from foveal.deployment.bundle import Bundle
from foveal.files.run_folder import RunFolder
from foveal.run.history import History


def write_model_card(bundle: Bundle, folder: RunFolder) -> str:
    """Return the README of a run's model, as Markdown."""
    best = History(folder.history()).best
    score = (
        ""
        if best.validation_accuracy is None
        else f" Validation accuracy there: {best.validation_accuracy:.2%}."
    )
    names = "\n".join(f"- `{progress.printable(name).replace('`', '′')}`" for name in bundle.classes)
    size, channels = bundle.decoding.size, bundle.decoding.channels
    return f"""# A Foveal model

Recipe `{bundle.recipe.name}`, weights of epoch {best.epoch}.{score}

- `model.safetensors`: the weights
- `config.json`: classes, preprocessing and the recipe, hence the network

It takes images of {size} × {size} pixels with {channels} channel(s) of 8 bits; Foveal brings any image file
to that form. Normalisation is inside the network.

```
foveal predict THIS_FOLDER image.png
```

Classes, in the order of the outputs:

{names}
"""
