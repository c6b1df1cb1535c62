"""Train on a folder of images, test the model, write the report and classify new images.

    python examples/train_folder.py [FOLDER]

Without a folder it takes scikit-learn's scanned digits, which come along. It writes into `runs/`.
"""

import sys

import foveal


def main() -> None:
    """Train, test, report, predict."""
    folder = sys.argv[1] if len(sys.argv) > 1 else foveal.get("digits", "digits", exist_ok=True)

    # A recipe says how to train. budget="5m" in its place plans the best training that takes five minutes.
    run = foveal.train(folder, recipe="digits", settings={"epochs": 3})
    print(run.history)

    # Only this opens the test images.
    print(run.evaluate("test"))
    print(run.report())

    # The folder run.path / "model" is all that a prediction needs.
    for prediction in run.predict(folder)[:3]:
        print(prediction.path, prediction.label, prediction.probability)


if __name__ == "__main__":
    main()
