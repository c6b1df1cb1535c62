"""Why a network says what it says: where in an image the evidence lies, and which images look alike to it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.models import model_s, sprint

BATCH_SIZE = 100


def can_explain(network: nn.Module) -> bool:
    """Say whether a network ends in maps and a part that classifies them: Foveal's own do."""
    return isinstance(network, model_s.Network | sprint.Network)


def compute_evidence_maps(
    network: nn.Module, images: NDArray[np.uint8], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return where the logit of a class comes from: one map (H, W) for each image, in all (N, H, W).

    `images` are uint8 (N, S, S, C), `classes` (N,) the class of each whose logit is taken apart. A map's
    value is the sum over channels of activation times gradient, at that place of the network's last maps.
    Behind these stand only averages, linear layers and rectifiers, so the values add up to the logit, less
    what the biases give: the map is exact, not an approximation. Its places are large, each of them having
    seen most of the image.

    Source: R. L. Draelos, L. Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks, 2020, arXiv:2011.08891; for a linear end the class-activation maps of
    B. Zhou et al., CVPR 2016.
    """
    assert isinstance(network, model_s.Network | sprint.Network)
    network.eval()
    with torch.inference_mode():
        found = network.features(torch.from_numpy(images))
    maps = found.clone().detach().requires_grad_()
    with torch.enable_grad():
        logits: Tensor = network.classify(maps)
        chosen = logits[torch.arange(len(logits)), torch.from_numpy(classes)].sum()
        (slopes,) = torch.autograd.grad(chosen, maps)
    return (slopes * maps).sum(1).detach().numpy()


def compute_embeddings(
    network: nn.Module, pixels: NDArray[np.uint8], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return what images look like to the network: its last maps averaged over places, of length one.

    `pixels` are uint8 (N, S, S, C), of which `rows` are taken; returned is (n, channels). The product of two
    is the cosine of their angle: 1 for images that look alike.
    """
    assert isinstance(network, model_s.Network | sprint.Network)
    network.eval()
    found = []
    with torch.inference_mode():
        for some in np.split(rows, range(BATCH_SIZE, len(rows), BATCH_SIZE)):
            maps = network.features(torch.from_numpy(np.array(pixels[some])))
            found.append(nn.functional.normalize(maps.mean((2, 3)), dim=1).numpy())
    return np.concatenate(found)
