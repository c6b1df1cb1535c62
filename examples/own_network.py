"""Train a network of your own, and compare it with one of Foveal's on the same images.

    python examples/own_network.py

It writes into `runs/`.
"""

from torch import nn

import foveal


def create_network(n_classes: int) -> nn.Module:
    """Return a small network: floats (N, 3, 16, 16) between 0 and 1 in, logits (N, classes) out."""
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, n_classes),
    )


def main() -> None:
    """Train both, test both, compare."""
    digits = foveal.get("digits", "digits", exist_ok=True)
    settings = {"size": 16, "epochs": 3}

    ours = foveal.train(digits, model=create_network(10), settings=settings, out="runs/own")
    theirs = foveal.train(digits, recipe="digits", settings=settings, out="runs/theirs")
    for run in (ours, theirs):
        run.evaluate("test")

    print(foveal.compare(ours, theirs))


if __name__ == "__main__":
    main()
