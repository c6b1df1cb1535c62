"""Model S written in Keras, as the notebook writes it, and its weights as ours."""

from typing import Any

import keras
import numpy as np
from torch import nn


def build(*, dtype: str, l2: float = 0.0, dropout: float = 0.0, size: int = 32, classes: int = 10) -> Any:
    """The notebook's network, but logits instead of softmax (TensorFlow's loss computes from logits)."""
    layers = keras.layers
    penalty = keras.regularizers.L2(l2) if l2 else None
    inputs = keras.Input(shape=(size, size, 3), dtype=dtype)
    x = layers.Rescaling(1.0 / 255, dtype=dtype)(inputs)
    for width in (32, 64, 128):
        for _ in range(2):
            x = layers.Conv2D(
                filters=width,
                kernel_size=3,
                activation="relu",
                padding="same",
                kernel_regularizer=penalty,
                dtype=dtype,
            )(x)
            x = layers.BatchNormalization(dtype=dtype)(x)
        x = layers.MaxPooling2D(pool_size=2, dtype=dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)
    x = layers.Dropout(dropout, dtype=dtype)(x)
    x = layers.Dense(256, activation="relu", kernel_regularizer=penalty, dtype=dtype)(x)
    x = layers.Dropout(dropout, dtype=dtype)(x)
    outputs = layers.Dense(classes, kernel_regularizer=penalty, dtype=dtype)(x)
    return keras.Model(inputs, outputs)


def weighted_layers(model: Any) -> list[Any]:
    """Keras' layers that have weights, in order."""
    return [layer for layer in model.layers if layer.weights]


def our_layers(network: nn.Module) -> list[nn.Module]:
    """Ours, in the same order."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]


def as_keras(layer: nn.Module) -> list[np.ndarray]:
    """A layer's numbers in Keras' order and layout."""
    if isinstance(layer, nn.Conv2d):
        return [layer.weight.detach().permute(2, 3, 1, 0).numpy(), layer.bias.detach().numpy()]
    if isinstance(layer, nn.Linear):
        return [layer.weight.detach().T.numpy(), layer.bias.detach().numpy()]
    assert isinstance(layer, nn.BatchNorm2d)
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    return [each.detach().numpy() for each in tensors]


def copy_weights(network: nn.Module, model: Any) -> None:
    """Give a Keras model our network's weights."""
    for ours, theirs in zip(our_layers(network), weighted_layers(model), strict=True):
        theirs.set_weights(as_keras(ours))
