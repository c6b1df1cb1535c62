"""Checkpoints: one safetensors file each, with the other state as JSON in the header, and a digest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal.errors import RunError
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, write_bytes
from foveal.files.tensor_file import Claim, TensorFileError
from foveal.training.optimizers import Optimizer

MAX_SIZE_RATIO = 8
"""A larger file, as a multiple of the network's own bytes, is refused. Optimizers need three at most."""
MAX_UNEXPECTED_BYTES = 2_000_000_000
"""The size of the largest file that is read where the network, and so its size, may be another one."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of an undamaged checkpoint that fits the network and the optimizer."""

    tensors: dict[str, Tensor]
    """The tensors of the network and the optimizer, by their names in the file."""
    groups: list[dict[str, Any]]
    """The settings of the optimizer's groups of parameters, such as learning rates."""
    state: dict[str, Any]
    """Everything else, as JSON values."""

    def restore(self, network: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Copy the tensors into a network and its optimizer, or into the network alone.

        The tensors of the network stay the same objects, because another memory layout could change bits.
        """
        if optimizer is not None:
            _load_optimizer(optimizer, self.tensors, self.groups)
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(self.tensors[f"network/{name}"])


def save_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write network, optimizer and `state` (JSON values) to one file, completely or not at all."""
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.state_dict()["param_groups"]
    ]
    values = {"state": state, "optimizer": groups}
    write_bytes(path, tensor_file.encode_with_digest(_collect_tensors(network, optimizer), values))


class DamagedError(RunError):
    """A checkpoint is no longer as it was written."""


def read_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer) -> Checkpoint:
    """Read and check a checkpoint for a network and its optimizer, without a change to either.

    Raises:
        DamagedError: The file is no longer as it was written.
        RunError: The file is undamaged, but belongs to another network or optimizer.
    """
    max_size = MAX_SIZE_RATIO * sum(tensor.nbytes for tensor in network.state_dict().values())
    try:
        header = tensor_file.read_header(path)
        if header.size > max_size:  # refused before so much is read
            raise RunError(f"the checkpoint {path} is far too large for the network")
        content = tensor_file.read_content(path, header)
        tensor_file.check_digest(content, header)
    except TensorFileError as error:
        raise DamagedError(f"the checkpoint {path} is damaged: {error}") from error
    try:
        _check_tensors(header.claims, network, optimizer)
        tensors = tensor_file.parse_tensors(content)
        values = tensor_file.read_values(header)
        state, groups = values["state"], values["optimizer"]
        for stored, current in zip(groups, optimizer.state_dict()["param_groups"], strict=True):
            if stored.keys() != current.keys() - {"params"}:
                raise TensorFileError("its optimizer is another")
        if not isinstance(state, dict):
            raise TensorFileError("it has no state")
    except (TensorFileError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"the checkpoint {path} does not fit: {error}") from error
    return Checkpoint(tensors=tensors, groups=groups, state=state)


def read_recorded_recipe(path: Path) -> object:
    """Return the recipe that an undamaged checkpoint was trained with, as JSON values.

    It works for a network of another shape, too. The result is None if the file is damaged, far too large, or
    has no recipe.
    """
    try:
        header = tensor_file.read_header(path)
        if header.size > MAX_UNEXPECTED_BYTES:
            return None
        tensor_file.check_digest(tensor_file.read_content(path, header), header)
        return tensor_file.read_values(header)["state"]["recipe"]
    except (TensorFileError, LookupError, TypeError):
        return None


def prune_checkpoints(folder: Path, *, keep: set[int], last: int = 2) -> None:
    """Delete all checkpoints except those of the `last` steps and of the steps in `keep`."""
    steps = list_checkpoint_steps(folder)
    with outside_faults(folder):
        for step in set(steps[:-last]) - keep:
            locate_checkpoint(folder, step).unlink(missing_ok=True)


def locate_checkpoint(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step."""
    return folder / f"step-{step:06d}.safetensors"


def list_checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint, in ascending order."""
    matches = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def _collect_tensors(network: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for index, averages in optimizer.state_dict()["state"].items():
        for name, average in averages.items():
            tensors[f"optimizer/{index}/{name}"] = average
    # Copies, because safetensors refuses strided tensors, and tensors that share memory, as tied weights do.
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _check_tensors(claims: Mapping[str, Claim], network: nn.Module, optimizer: Optimizer) -> None:
    """Refuse all but the tensors of this network, and averages with the shapes of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected = {f"network/{name}": Claim.of(tensor) for name, tensor in network.state_dict().items()}
    for name in claims:
        match = re.fullmatch(r"optimizer/(\d{1,6})/[a-z_]+", name)
        if match is not None and int(match[1]) < len(parameters):
            expected[name] = Claim.of(parameters[int(match[1])])
    tensor_file.check_claims(claims, expected)


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    current_groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    averages: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        owner, _, rest = path.partition("/")
        if owner == "optimizer":
            index, _, name = rest.partition("/")
            # The memory layout is that of the parameter, so that a resumed run gives the same bits.
            average = torch.empty_like(parameters[int(index)])
            averages.setdefault(int(index), {})[name] = average.copy_(tensor)
    merged = [{**current, **stored} for current, stored in zip(current_groups, groups, strict=True)]
    optimizer.load_state_dict({"state": averages, "param_groups": merged})
