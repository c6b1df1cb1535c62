"""Scripts that measure Foveal, with their results; `README.md` lists them. Run them from the checkout."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
"""The folder of the project, in which `python -m benchmarks.…` runs."""
RESULTS = CHECKOUT / "benchmarks" / "results"
"""The folder of the committed results. It has the same folders as the scripts."""
