"""Where a logit comes from: the parts add up, for every network of ours."""

import numpy as np
import pytest
import torch
from torch import nn

from foveal.evaluation.attribution import can_explain, compute_embeddings, compute_evidence_maps
from foveal.models import registry
from foveal.recipe import builtin


def network_of(name: str, *, dense: int | None = None) -> nn.Module:
    from dataclasses import replace

    config = builtin.load_recipe(name).model
    if dense is not None:
        config = replace(config, dense=dense)
    network = registry.build_network(config, size=32, channels=3, classes=5, seed=0)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    registry.prepare_network(network, images)
    network.train()
    with torch.no_grad():
        network(images)  # so that batch normalisation has seen something
    return network.eval()


@pytest.mark.parametrize("name", ["sprint", "digits"])
def test_features_and_head_are_the_network(name: str) -> None:
    network = network_of(name)
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8))
    with torch.no_grad():
        assert torch.equal(network.classify(network.extract_features(images)), network(images))


@pytest.mark.parametrize(("name", "dense"), [("sprint", None), ("model-s-02", 0), ("model-s-02", 64)])
def test_the_evidence_adds_up_to_the_logit_less_the_biases(name: str, dense: int | None) -> None:
    network = network_of(name, dense=dense)
    images = np.random.default_rng(2).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    classes = np.array([0, 1, 2, 3, 4, 0])
    maps = compute_evidence_maps(network, images, classes)
    assert maps.shape == (6, 4, 4)
    with torch.no_grad():
        features = network.extract_features(torch.from_numpy(images))
        logits = network.classify(features)[range(6), classes]
        # What is left is the same however strong the maps are, as long as no rectifier changes sides.
        near = network.classify(features * (1 + 1e-3))[range(6), classes]
    slope = (near - logits).numpy() / 1e-3
    assert maps.sum(axis=(1, 2)) == pytest.approx(slope, rel=2e-2, abs=2e-3)
    if name == "sprint":  # no bias: the parts are the whole
        assert maps.sum(axis=(1, 2)) == pytest.approx(logits.numpy(), rel=1e-3, abs=1e-4)


def test_a_place_that_is_blank_has_no_evidence() -> None:
    network = network_of("sprint")
    images = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    images[0, :8, :8] = np.random.default_rng(3).integers(0, 256, (8, 8, 3))
    spread = np.abs(
        compute_evidence_maps(network, images, np.array([0]))
        - compute_evidence_maps(network, images * 0, np.array([0]))
    )
    assert spread[0, 0, 0] == spread.max()
    assert spread[0, 3, 3] < 1e-5


def test_embeddings_have_length_one_and_know_their_own() -> None:
    network = network_of("sprint")
    pixels = np.random.default_rng(4).integers(0, 256, (130, 32, 32, 3), dtype=np.uint8)
    found = compute_embeddings(network, pixels, np.arange(130))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert ((found @ found.T).argmax(axis=1) == np.arange(130)).all()


def test_a_user_s_own_network_is_not_explained() -> None:
    assert not can_explain(nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)))
    assert can_explain(network_of("sprint"))
