"""Model S: blocks of 3×3 convolutions, each ending in 2×2 max pooling, then dense layers."""

from collections import OrderedDict

from torch import Tensor, nn

from foveal.models.layers import Dropout, FlattenLast, FusedLayers, Rescale
from foveal.recipe.networks import ModelS


class ModelSNetwork(nn.Sequential):
    """The layers of Model S. Those that a kernel computes in one pass run together."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images uint8 (N, S, S, C)."""
        return self.classify(self.extract_features(images))

    def extract_features(self, images: Tensor) -> Tensor:
        """Return the last maps (N, C, H, W) of images uint8 (N, S, S, C)."""
        layers = list(self)
        return _run_layers(layers[: _find_head(layers)], images)

    def classify(self, maps: Tensor) -> Tensor:
        """Return logits (N, classes) for the last maps (N, C, H, W)."""
        layers = list(self)
        return _run_layers(layers[_find_head(layers) :], maps)


def _find_head(layers: list[nn.Module]) -> int:
    """Return the index of the layer that flattens maps to vectors."""
    return next(index for index, layer in enumerate(layers) if isinstance(layer, FlattenLast))


def _run_layers(layers: list[nn.Module], values: Tensor) -> Tensor:
    """Run layers in their order, several at once where a kernel can."""
    index = 0
    while index < len(layers):
        match layers[index : index + 4]:
            case [nn.Conv2d() as convolution, nn.ReLU(), nn.BatchNorm2d() as norm, *rest]:
                pooled = bool(rest) and isinstance(rest[0], nn.MaxPool2d)
                length = 4 if pooled else 3
                fused = FusedLayers(convolution, norm, pooled, layers[index : index + length])
                values = fused(values)
                index += length
            case [layer, *_]:
                values = layer(values)
                index += 1
    return values


def build_model_s(config: ModelS, *, size: int, channels: int, classes: int) -> ModelSNetwork:
    """Build Model S, which maps images uint8 (N, size, size, channels) to logits (N, classes).

    The notebook uses the defaults of Keras: Glorot uniform kernels, zero biases, and an epsilon of 0.001 in
    batch normalisation, which follows ReLU. The layers have the names of the notebook's summary.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(rescaling=Rescale())
    number = 0
    for block, width in enumerate(config.widths):
        for _ in range(config.convolutions):
            suffix = f"_{number}" if number else ""
            layers[f"conv2d{suffix}"] = nn.Conv2d(channels, width, kernel_size=3, padding=1)
            layers[f"relu{suffix}"] = nn.ReLU(inplace=True)
            if config.batch_norm:
                layers[f"batch_normalization{suffix}"] = nn.BatchNorm2d(
                    width, eps=1e-3, momentum=1 - config.momentum
                )
            channels = width
            number += 1
        layers["max_pooling2d" + (f"_{block}" if block else "")] = nn.MaxPool2d(2)
    layers["flatten"] = FlattenLast()
    features = channels * (size >> len(config.widths)) ** 2  # each pooling halves, rounding down
    if config.dropout:
        layers["dropout"] = Dropout(config.dropout)
    if config.dense:
        layers["dense"] = nn.Linear(features, config.dense)
        layers["dense_relu"] = nn.ReLU(inplace=True)
        if config.dropout:
            layers["dropout_1"] = Dropout(config.dropout)
        features = config.dense
    layers["logits"] = nn.Linear(features, classes)
    network = ModelSNetwork(layers)
    network.apply(_initialise)
    return network


def _initialise(layer: nn.Module) -> None:
    """Draw kernels from the uniform distribution of Glorot and Bengio (2010, eq. 16), and zero biases."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        assert isinstance(layer.bias, Tensor)
        nn.init.zeros_(layer.bias)
