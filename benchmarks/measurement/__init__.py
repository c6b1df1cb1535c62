"""What the scripts share: command lines, measured processes, results on disk and Markdown tables."""
