"""Run the notebooks and keep their outputs: what is committed has been executed, from top to bottom.

python notebooks/execute.py
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent

for file in sorted(HERE.glob("*.ipynb")):
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(
        notebook,
        resources={"metadata": {"path": str(HERE)}},
        coalesce_streams=True,  # of a progress bar, its last state
        record_timing=False,
    ).execute()
    nbformat.write(notebook, file)
