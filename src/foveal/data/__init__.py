"""Images on disk -> batches of tensors."""
