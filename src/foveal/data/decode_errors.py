"""The refusals of image files."""

from foveal.errors import DataError


class DecodeError(DataError):
    """A file cannot be used as an image. The message is the reason."""


class DeepImageError(DecodeError):
    """The image is deep (more than 8 bits a value), and no range is known that scales it to 8 bits.

    `low` and `high` are the lowest and the highest value of the image. `sketch` tells how its values are
    distributed, as `foveal.data.deep_range.find_range` takes it.
    """

    def __init__(self, sketch: tuple[float, ...]) -> None:
        super().__init__("a deep image, but the model's data set had none, so no range is known for it")
        self.sketch = sketch
        self.low, self.high = sketch[0], sketch[1]
