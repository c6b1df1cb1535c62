"""uint8 batches -> logits; normalisation is inside."""
