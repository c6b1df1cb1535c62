"""Training: from batches to trained weights."""
