"""Explanations of a network's predictions: evidence maps, and which images look alike to the network."""

import numpy as np
import torch
from torch import nn

from foveal.evaluation.predict import BATCH_SIZE
from foveal.models import model_s, sprint
from foveal.types import Floats, Ints, Pixels


def can_explain(network: nn.Module) -> bool:
    """Return whether a network has feature maps and a part that classifies them: Foveal's own have."""
    return isinstance(network, model_s.ModelSNetwork | sprint.SprintNetwork)


def compute_evidence_maps(network: nn.Module, images: Pixels, classes: Ints) -> Floats:
    """Return for each image where the logit of a class comes from, as a float32 map: in all (N, H, W).

    `images` are uint8 (N, S, S, C), `classes` (N,) has the class for each image. A value of the map is the
    sum over channels of activation times gradient, at that place of the network's last feature maps. Behind
    them there are only averages, linear layers and rectifiers. So the values add up to the logit, except for
    the biases: the map is exact, not an approximation. Its places are large, since each depends on most of
    the image.

    Source: R. L. Draelos, L. Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks, 2020, arXiv:2011.08891; for a linear end the class-activation maps of
    B. Zhou et al., CVPR 2016.
    """
    assert isinstance(network, model_s.ModelSNetwork | sprint.SprintNetwork)
    network.eval()
    with torch.inference_mode():
        features = network.extract_features(torch.from_numpy(images))
    maps = features.clone().detach().requires_grad_()
    with torch.enable_grad():
        logits = network.classify(maps)
        of_classes = logits[torch.arange(len(logits)), torch.from_numpy(classes)].sum()
        (gradients,) = torch.autograd.grad(of_classes, maps)
    evidence: Floats = (gradients * maps).sum(1).detach().numpy()
    return evidence


def compute_embeddings(network: nn.Module, pixels: Pixels, indices: Ints) -> Floats:
    """Return a unit vector for each image: the network's last feature maps, averaged over places.

    `pixels` are uint8 (N, S, S, C), of which the images at `indices` (n,) are taken. The result is float32
    (n, channels). The product of two vectors is the cosine of their angle: 1 for images that look alike.
    """
    assert isinstance(network, model_s.ModelSNetwork | sprint.SprintNetwork)
    network.eval()
    embeddings = []
    with torch.inference_mode():
        for batch in np.split(indices, range(BATCH_SIZE, len(indices), BATCH_SIZE)):
            maps = network.extract_features(torch.from_numpy(np.array(pixels[batch])))
            embeddings.append(nn.functional.normalize(maps.mean((2, 3)), dim=1).numpy())
    return np.concatenate(embeddings)
