"""Checkpoints: one safetensors file each, with the rest of the state as JSON in its header, and a digest."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from foveal.errors import RunError
from foveal.run import write_bytes
from foveal.training.optimizers import Optimizer


def save_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write network, optimizer and `state` (JSON values) to one file, whole or not at all."""
    tensors = _tensors(network, optimizer)
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.state_dict()["param_groups"]
    ]
    text = json.dumps({"state": state, "optimizer": groups}, allow_nan=False)
    write_bytes(path, save(tensors, {"foveal": text, "digest": _digest(tensors, text)}))


def load_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer | None = None) -> dict[str, Any]:
    """Copy a checkpoint's numbers into a live network and optimizer; return its state.

    Without an optimizer only the weights are taken. Numbers are copied into the tensors that are there, so
    that their memory layout stays: alignment can change bits.

    Raises:
        RunError: the file is damaged, or holds another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise RunError(f"the checkpoint {path} cannot be read: {error}") from error
    text = metadata.get("foveal", "")
    if metadata.get("digest") != _digest(stored, text):
        raise RunError(f"the checkpoint {path} is damaged: its digest does not match")
    header = json.loads(text)
    live = {f"network/{name}": each for name, each in network.state_dict().items()}
    if optimizer is not None:
        _load_optimizer(optimizer, stored, header["optimizer"])
    with torch.no_grad():
        for name, each in live.items():
            if name not in stored or stored[name].shape != each.shape or stored[name].dtype != each.dtype:
                raise RunError(f"the checkpoint {path} holds another network: {name} does not fit")
            each.copy_(stored[name])
    state: dict[str, Any] = header["state"]
    return state


def prune(folder: Path, *, keep: set[int]) -> None:
    """Delete all checkpoints but the last two and those of the steps in `keep`."""
    steps = checkpoint_steps(folder)
    for step in set(steps[:-2]) - keep:
        checkpoint_path(folder, step).unlink(missing_ok=True)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the file of a step's checkpoint."""
    return folder / f"step-{step:06d}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """List the steps that have a checkpoint, ascending."""
    matches = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def _tensors(network: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    found = {f"network/{name}": each for name, each in network.state_dict().items()}
    for index, averages in optimizer.state_dict()["state"].items():
        for name, each in averages.items():
            found[f"optimizer/{index}/{name}"] = each
    # Copies: safetensors takes neither strided tensors nor two that share memory, as tied weights do.
    return {name: each.detach().clone(memory_format=torch.contiguous_format) for name, each in found.items()}


def _load_optimizer(optimizer: Optimizer, stored: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    current = optimizer.state_dict()["param_groups"]
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    averages: dict[int, dict[str, Tensor]] = {}
    for full_name, each in stored.items():
        room, _, rest = full_name.partition("/")
        if room == "optimizer":
            index, _, name = rest.partition("/")
            # Laid out in memory as the parameter is, so that going on gives the same bits.
            like = torch.empty_like(parameters[int(index)])
            averages.setdefault(int(index), {})[name] = like.copy_(each)
    merged = [{**now, **then} for now, then in zip(current, groups, strict=True)]
    optimizer.load_state_dict({"state": averages, "param_groups": merged})


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        each = tensors[name]
        digest.update(f"\0{name}\0{each.dtype}\0{tuple(each.shape)}\0".encode())
        digest.update(each.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
