"""How much memory may still be taken, and what is done where it is too little."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import foveal
from foveal.cli.main import main
from foveal.errors import OutsideError
from foveal.evaluation.predict import BATCH_SIZE, compute_logits
from foveal.memory import available_bytes, is_shortage
from foveal.planning import memory_estimate

GB = 1_000_000_000
Groups = dict[str, tuple[str, int, int]]


def system(
    root: Path, *, free: int, groups: dict[str, tuple[str, int, int]], cgroup: str = "0::/a/b\n"
) -> Path:
    """Lay out proc and sys as Linux shows them; groups are (limit, used, of it copies of files)."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {free // 1024} kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for path, (limit, used, files) in groups.items():
        folder = root / "sys/fs/cgroup" / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, 8 * GB),
        ({"a/b": ("max", 5, 0)}, 8 * GB),
        ({"a/b": (str(3 * GB), 1 * GB, 0)}, 2 * GB),
        ({"a/b": (str(3 * GB), 1 * GB, GB // 2)}, 2 * GB + GB // 2),
        ({"a/b": (str(30 * GB), 0, 0), "a": (str(4 * GB), 3 * GB, 0)}, 1 * GB),
        ({"": (str(5 * GB), 2 * GB, 0)}, 3 * GB),  # inside a container the group is the base
        ({"a/b": (str(3 * GB), 4 * GB, 0)}, 0),
    ],
)
def test_the_least_of_all_limits_counts(tmp_path: Path, groups: Groups, expected: int) -> None:
    found = available_bytes(system(tmp_path, free=8 * GB, groups=groups))
    assert found == pytest.approx(expected, abs=1024)


def test_control_groups_of_version_one(tmp_path: Path) -> None:
    groups = {"memory/docker/x": (str(2 * GB), GB // 2, 0)}
    lines = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/\n"
    assert available_bytes(system(tmp_path, free=8 * GB, groups=groups, cgroup=lines)) == 2 * GB - GB // 2


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


def test_shortage_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_shortage(caught.value)
    assert is_shortage(MemoryError())
    assert not is_shortage(RuntimeError("shapes do not fit"))


class Hungry(nn.Module):
    """A network that is refused memory for more than a few images at a time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to …")
        self.batches.append(len(images))
        return images.float().mean((1, 2))


def test_prediction_takes_smaller_batches_and_gives_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (230, 8, 8, 3), dtype=np.uint8)
    easy, hungry = Hungry(BATCH_SIZE), Hungry(30)
    assert np.array_equal(compute_logits(hungry, pixels), compute_logits(easy, pixels))
    assert max(hungry.batches) == BATCH_SIZE // 4
    rows = np.arange(0, 230, 2)
    assert np.array_equal(compute_logits(hungry, pixels, rows), compute_logits(easy, pixels, rows))
    with pytest.raises(RuntimeError, match="allocate"):
        compute_logits(Hungry(0), pixels)


def test_training_that_cannot_fit_is_refused_before_anything_is_written(
    few_digits: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 400_000_000)
    words = ["train", str(few_digits), "--recipe", "model-s-02", "--set", "batch_size=5000"]
    assert main([*words, "--out", str(tmp_path / "run"), "--cache", str(cache)]) == 3
    said = capsys.readouterr().err
    assert "0.4 GB are free" in said
    assert not (tmp_path / "run").exists()
    fitting = int(said.split("--set batch_size=")[1].split(",")[0])
    assert 1 <= fitting < 5000
    settings = ["size=8", f"batch_size={fitting}", "epochs=1"]
    foveal.train(
        foveal.DataOptions(few_digits, cache=cache),
        recipe="model-s-02",
        settings=settings,
        out=tmp_path / "run",
    )
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 1_000)
    with pytest.raises(OutsideError, match="a smaller network"):
        foveal.train(foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", out=tmp_path / "other")
