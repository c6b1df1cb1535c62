"""Use Foveal as the last step of a scikit-learn pipeline, and search its settings by cross-validation.

    python examples/scikit_learn_pipeline.py

It needs no folder of images: they come as an array.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from foveal import FovealClassifier


def brighten(images: np.ndarray) -> np.ndarray:
    """Return the images with a brighter middle: the square root of their values between 0 and 1."""
    return (images / 16) ** 0.5


def main() -> None:
    """Search, then test on images that the search has not seen."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.images, digits.target, train_size=500, test_size=500, random_state=0
    )

    pipeline = make_pipeline(FunctionTransformer(brighten), FovealClassifier("digits"))
    grid = {"fovealclassifier__settings": [{"size": 8, "epochs": 8}, {"size": 8, "epochs": 8, "dropout": 0}]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x_train, y_train)

    print(search.best_params_)
    print(f"accuracy on {len(y_test)} other images: {search.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
