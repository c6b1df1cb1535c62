"""Networks: they map batches of uint8 images to logits, and rescale the images themselves."""
