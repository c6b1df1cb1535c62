"""ResNet-20 with standard settings in plain eager PyTorch, as somebody would train it without Foveal.

    python -m benchmarks.peers.resnet DATA --seconds 300 --seed 0

DATA holds train/CLASS and test/CLASS. The network is the ResNet-20 for CIFAR-10 (He et al. 2016, section
4.2): stages of 16, 32 and 64 channels, three blocks each, shortcuts of option A (every second pixel, new
channels zero; no parameters). The settings are the paper's, but for Nesterov's kind of momentum and a
cosine in place of three steps: stochastic gradient descent, learning rate 0.1, momentum 0.9, weight decay
1e-4, batches of 128, random crops of images padded by 4 pixels, mirroring by chance (`--no-mirroring`
omits it), every channel normalised. Batches are smaller where the training set is: an eighth of it,
and 16 at least.

Images are resized to 32 × 32 pixels. If all training images are grey, the network takes one channel. It
trains on all images in `train`, without validation. `benchmarks.accuracy.small_sets` runs it as a peer.

It trains for the given seconds. Importing, reading images, and the trial that measures the seconds of a
step, with a copy of the network, do not count. The cosine spans the steps that fit by that measure. After
every step it is planned again, by the time that steps have taken so far, so that it ends at zero and on time
whatever else the machine does. The last line is JSON: seconds and steps of training, and the accuracy on
`test`, which is evaluated once.
"""

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

from benchmarks.measurement.command_line import create_parser

SIDE = 32
PADDING = 4
WIDTHS = (16, 32, 64)
BLOCKS = 3
BATCH = 128
MIN_BATCH = 16
MIN_STEPS_PER_EPOCH = 8
TEST_BATCH = 500
WARM_UP_STEPS = 5
"""The number of steps before the trial."""
TRIAL_STEPS, TRIAL_SECONDS = 20, 2.0
"""The least number of steps and of seconds that the trial takes."""


class Block(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.stride = channels_out // channels_in
        self.convolution1 = nn.Conv2d(channels_in, channels_out, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.convolution2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape, or to twice the channels and half the height and width."""
        residual = F.relu(self.norm1(self.convolution1(maps)), inplace=True)
        residual = self.norm2(self.convolution2(residual))
        if self.stride > 1:
            maps = F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, maps.shape[1]))
        return F.relu(residual + maps, inplace=True)


class ResNet20(nn.Module):
    """The network. It maps normalised floats (N, C, 32, 32) to logits (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
        ]
        channels_in = WIDTHS[0]
        for width in WIDTHS:
            for _ in range(BLOCKS):
                layers.append(Block(channels_in, width))
                channels_in = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        logits: Tensor = self.head(self.layers(images).mean((2, 3)))
        return logits


class TrainingImages:
    """Training images with their augmentation, and the normalisation that every image gets.

    Args:
        images: The images, uint8 (N, C, 32, 32).
        labels: Their classes, (N,).
        mirroring: Whether each is mirrored with probability one half.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, mirroring: bool) -> None:
        pixels = images.float() / 255
        self.mean = pixels.mean((0, 2, 3))[:, None, None]
        self.std = pixels.std((0, 2, 3))[:, None, None].clamp_min(1e-6)
        self.labels, self.mirroring = labels, mirroring
        padded = F.pad(images, (PADDING,) * 4)  # (N, C, 40, 40)
        self._crops = padded.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (N, C, 9, 9, 32, 32), a view

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 (N, C, 32, 32) as normalised floats, channels last in memory."""
        floats = (images.float() / 255 - self.mean) / self.std
        return floats.contiguous(memory_format=torch.channels_last)

    def iterate_epoch(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through all images once in a random order; yield floats (B, C, 32, 32) and labels (B,)."""
        for indices in torch.split(torch.randperm(len(self.labels)), batch):
            down, right = torch.randint(0, 2 * PADDING + 1, (2, len(indices)))
            images = self._crops[indices, :, down, right]  # (B, C, 32, 32)
            if self.mirroring:
                mirrored = torch.rand(len(indices)) < 0.5
                images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            yield self.normalise(images), self.labels[indices]


def main() -> None:
    """Train, evaluate on the test images, and print the result."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, required=True, metavar="S", help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=0.1, metavar="R")
    parser.add_argument("--no-mirroring", action="store_true")
    args = parser.parse_args()
    channels = 1 if all(is_grey(file) for file in (args.data / "train").rglob("*.png")) else 3
    images, labels = read_images(args.data / "train", channels)
    test_images, test_labels = read_images(args.data / "test", channels)
    data = TrainingImages(images, labels, mirroring=not args.no_mirroring)
    batch = min(BATCH, max(MIN_BATCH, len(images) // MIN_STEPS_PER_EPOCH))
    torch.manual_seed(args.seed)
    network = ResNet20(channels, int(labels.max()) + 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step_seconds = measure_step(network, data, batch, rate=args.learning_rate)
    torch.manual_seed(args.seed)
    trained = train(
        network, data, batch, seconds=args.seconds, step_seconds=step_seconds, rate=args.learning_rate
    )
    correct = count_correct(network, data, test_images, test_labels)
    result = {
        **trained,
        "batch": batch,
        "channels": channels,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "threads": torch.get_num_threads(),
        "train": {"n": len(images)},
        "test": {"n": len(test_labels), "accuracy": correct / len(test_labels)},
    }
    print(json.dumps(result))


def is_grey(file: Path) -> bool:
    """Return whether an image has one channel. Its pixels are not decoded for this."""
    with Image.open(file) as image:
        return image.mode in ("1", "L")


def read_images(folder: Path, channels: int) -> tuple[Tensor, Tensor]:
    """Return the images in class folders, uint8 (N, C, 32, 32), and their labels (N,)."""
    images, labels = [], []
    for label, class_folder in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(class_folder.glob("*.png")):
            with Image.open(file) as image:
                decoded = image.convert("L" if channels == 1 else "RGB")
            if decoded.size != (SIDE, SIDE):
                decoded = decoded.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            images.append(np.asarray(decoded).reshape(SIDE, SIDE, channels))
            labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(labels)


def create_optimizer(network: nn.Module, rate: float) -> torch.optim.SGD:
    """Return the optimizer."""
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-4)


def take_step(network: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> float:
    """Take one step and return its loss."""
    loss = F.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def measure_step(network: nn.Module, data: TrainingImages, batch: int, *, rate: float) -> float:
    """Return the mean seconds of a step, measured with a copy of the network."""
    trial_network = copy.deepcopy(network).train()
    optimizer, done, began = create_optimizer(trial_network, rate), -WARM_UP_STEPS, time.perf_counter()
    while True:
        for images, labels in data.iterate_epoch(batch):
            take_step(trial_network, optimizer, images, labels)
            done += 1
            if done == 0:
                began = time.perf_counter()
            took = time.perf_counter() - began
            if done >= TRIAL_STEPS and took >= TRIAL_SECONDS:
                return took / done


def train(
    network: nn.Module, data: TrainingImages, batch: int, *, seconds: float, step_seconds: float, rate: float
) -> dict[str, object]:
    """Train for the given seconds; return seconds, steps and the mean loss of the last epoch."""
    network.train()
    optimizer, done, losses = create_optimizer(network, rate), 0, [math.nan]
    planned = steps = max(1, int(seconds / step_seconds))
    began = time.perf_counter()
    while done < steps:
        losses = []
        for images, labels in data.iterate_epoch(batch):
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * done / steps)) / 2
            losses.append(take_step(network, optimizer, images, labels))
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


def count_correct(network: nn.Module, data: TrainingImages, images: Tensor, labels: Tensor) -> int:
    """Return how many images uint8 (N, C, 32, 32) are classified correctly."""
    network.eval()
    with torch.inference_mode():
        predicted = [network(data.normalise(part)).argmax(1) for part in torch.split(images, TEST_BATCH)]
    return int((torch.cat(predicted) == labels).sum())


if __name__ == "__main__":
    main()
