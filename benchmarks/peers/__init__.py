"""What Foveal is compared with: the notebook on Keras, plain PyTorch, and the processes that run them."""
