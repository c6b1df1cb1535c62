"""ResNet-20 with standard settings in plain eager PyTorch: what somebody would train who has no Foveal.

    python benchmarks/peer_resnet.py DATA --seconds 300 --seed 0

DATA holds train/CLASS and test/CLASS. The network is the ResNet-20 for CIFAR-10 (He et al. 2016, section
4.2): stages of 16, 32 and 64 channels, three blocks each, shortcuts of option A (every second pixel, new
channels zero; no parameters). The settings are the paper's, but for Nesterov's kind of momentum and a
cosine in place of three steps: stochastic gradient descent, learning rate 0.1, momentum 0.9, weight decay
1e-4, batches of 128, random crops of images padded by 4 pixels, mirroring by chance (`--no-mirroring`
leaves it out), every channel normalised. Batches are smaller where the training set is: an eighth of it,
and 16 at least.

Images are brought to 32 × 32 pixels; if all that train are grey, the network takes one channel. It sees all
images in `train`: nothing validates. `small_sets.py` runs it as a peer.

It trains for the given seconds. Importing, reading images, and the trial that measures the seconds of a
step, with a network that is thrown away, do not count. The cosine is laid over the steps that fit by that
measure; after every step anew, over those that fit by what steps have taken so far, so that it ends at zero
and on time whatever else the machine does. The last line is JSON: seconds and steps of training, and the
accuracy on `test`, on which it looks once.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

SIDE = 32
PADDING = 4
WIDTHS = (16, 32, 64)
BLOCKS = 3
BATCH = 128
SMALLEST_BATCH = 16
STEPS_AN_EPOCH = 8
TEST_BATCH = 500
WARM_UP, TRIAL, TRIAL_SECONDS = 5, 20, 2.0
"""Steps before the trial; steps and seconds that it takes at least."""


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.stride = channels_out // channels_in
        self.convolution1 = nn.Conv2d(channels_in, channels_out, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.convolution2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape, or to twice the channels and half the height and width."""
        found = F.relu(self.norm1(self.convolution1(maps)), inplace=True)
        found = self.norm2(self.convolution2(found))
        if self.stride > 1:
            maps = F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, maps.shape[1]))
        return F.relu(found + maps, inplace=True)


class ResNet20(nn.Module):
    """Map normalised floats (N, C, 32, 32) to logits (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
        ]
        before = WIDTHS[0]
        for width in WIDTHS:
            for _ in range(BLOCKS):
                layers.append(Block(before, width))
                before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)
        for each in self.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        logits: Tensor = self.head(self.layers(images).mean((2, 3)))
        return logits


class Normalised:
    """Training images ready to be drawn, and what every image is normalised by.

    Args:
        images: uint8 (N, C, 32, 32).
        mirroring: whether half of them are mirrored.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, mirroring: bool) -> None:
        pixels = images.float() / 255
        self.mean = pixels.mean((0, 2, 3))[:, None, None]
        self.deviation = pixels.std((0, 2, 3))[:, None, None].clamp_min(1e-6)
        self.labels, self.mirroring = labels, mirroring
        padded = F.pad(images, (PADDING,) * 4)  # (N, C, 40, 40)
        self._crops = padded.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (N, C, 9, 9, 32, 32), a view

    def floats(self, images: Tensor) -> Tensor:
        """Normalise uint8 (N, C, 32, 32) and lay them channels last."""
        found = (images.float() / 255 - self.mean) / self.deviation
        return found.contiguous(memory_format=torch.channels_last)

    def epoch(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through all images once in a random order; yield floats (B, C, 32, 32) and labels (B,)."""
        for rows in torch.split(torch.randperm(len(self.labels)), batch):
            down, right = torch.randint(0, 2 * PADDING + 1, (2, len(rows)))
            images = self._crops[rows, :, down, right]  # (B, C, 32, 32)
            if self.mirroring:
                mirrored = torch.rand(len(rows)) < 0.5
                images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            yield self.floats(images), self.labels[rows]


def main() -> None:
    """Train, judge on the test images, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, required=True, metavar="S", help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=0.1, metavar="R")
    parser.add_argument("--no-mirroring", action="store_true")
    asked = parser.parse_args()
    channels = 1 if all(is_grey(file) for file in (asked.data / "train").rglob("*.png")) else 3
    images, labels = read(asked.data / "train", channels)
    test_images, test_labels = read(asked.data / "test", channels)
    data = Normalised(images, labels, mirroring=not asked.no_mirroring)
    batch = min(BATCH, max(SMALLEST_BATCH, len(images) // STEPS_AN_EPOCH))
    torch.manual_seed(asked.seed)
    network = ResNet20(channels, int(labels.max()) + 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step_seconds = trial(network, data, batch, rate=asked.learning_rate)
    torch.manual_seed(asked.seed)
    trained = train(
        network, data, batch, seconds=asked.seconds, step_seconds=step_seconds, rate=asked.learning_rate
    )
    correct = judge(network, data, test_images, test_labels)
    said = {
        **trained,
        "batch": batch,
        "channels": channels,
        "parameters": sum(each.numel() for each in network.parameters()),
        "threads": torch.get_num_threads(),
        "train": {"n": len(images)},
        "test": {"n": len(test_labels), "accuracy": correct / len(test_labels)},
    }
    print(json.dumps(said))


def is_grey(file: Path) -> bool:
    """Tell whether an image has one channel. Its pixels are not decoded for this."""
    with Image.open(file) as image:
        return image.mode in ("1", "L")


def read(folder: Path, channels: int) -> tuple[Tensor, Tensor]:
    """Return the images in class folders, uint8 (N, C, 32, 32), and their labels (N,)."""
    images, labels = [], []
    for label, place in enumerate(sorted(each for each in folder.iterdir() if each.is_dir())):
        for file in sorted(place.glob("*.png")):
            with Image.open(file) as image:
                found = image.convert("L" if channels == 1 else "RGB")
            if found.size != (SIDE, SIDE):
                found = found.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            images.append(np.asarray(found).reshape(SIDE, SIDE, channels))
            labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(labels)


def descent(network: nn.Module, rate: float) -> torch.optim.SGD:
    """Make the optimizer."""
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-4)


def step(network: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> float:
    """Take one step and return its loss."""
    loss = F.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def trial(network: nn.Module, data: Normalised, batch: int, *, rate: float) -> float:
    """Return the mean seconds of a step, measured with a copy of the network."""
    thrown_away = copy.deepcopy(network).train()
    optimizer, done, began = descent(thrown_away, rate), -WARM_UP, time.perf_counter()
    while True:
        for images, labels in data.epoch(batch):
            step(thrown_away, optimizer, images, labels)
            done += 1
            if done == 0:
                began = time.perf_counter()
            took = time.perf_counter() - began
            if done >= TRIAL and took >= TRIAL_SECONDS:
                return took / done


def train(
    network: nn.Module, data: Normalised, batch: int, *, seconds: float, step_seconds: float, rate: float
) -> dict[str, object]:
    """Train for so many seconds, and return how that went."""
    network.train()
    optimizer, done, losses = descent(network, rate), 0, [math.nan]
    planned = steps = max(1, int(seconds / step_seconds))
    began = time.perf_counter()
    while done < steps:
        losses = []
        for images, labels in data.epoch(batch):
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * done / steps)) / 2
            losses.append(step(network, optimizer, images, labels))
            done += 1
            spent = time.perf_counter() - began
            steps = done + max(0, round((seconds - spent) * done / spent))
            if done == steps:
                break
    loss = sum(losses) / len(losses)
    return {
        "training_seconds": round(time.perf_counter() - began, 3),
        "planned_steps": planned,
        "steps": done,
        "epochs": done * batch / len(data.labels),
        "loss": loss if math.isfinite(loss) else None,
    }


def judge(network: nn.Module, data: Normalised, images: Tensor, labels: Tensor) -> int:
    """Return how many images uint8 (N, C, 32, 32) are classified rightly."""
    network.eval()
    with torch.inference_mode():
        found = [network(data.floats(some)).argmax(1) for some in torch.split(images, TEST_BATCH)]
    return int((torch.cat(found) == labels).sum())


if __name__ == "__main__":
    main()
