"""Is dropout worth it? Train a recipe with it and without, three seeds each, and compare the two groups.

    python examples/compare_two_recipes.py

One run each would not do: another seed gives another model. It writes into `runs/`.
"""

import foveal

SETTINGS = {"epochs": 2}


def main() -> None:
    """Train both groups and print the verdict."""
    digits = foveal.get("digits", "digits", exist_ok=True)
    with_dropout = foveal.repeat(digits, recipe="digits", runs=3, settings=SETTINGS, out="runs/with-dropout")
    without = foveal.repeat(
        digits, recipe="digits", runs=3, settings=SETTINGS | {"dropout": 0}, out="runs/without"
    )

    # The mean over seeds, and how much of a single run's accuracy is chance.
    print(with_dropout)
    print(without)

    # Better, worse, or not to be told apart with so many runs and images.
    print(foveal.compare(with_dropout, without))


if __name__ == "__main__":
    main()
