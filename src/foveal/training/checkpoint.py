"""Checkpoints: one safetensors file each, with the rest of the state as JSON in its header, and a digest."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from foveal.errors import RunError
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, write_bytes
from foveal.files.tensor_file import Claim, TensorFileError
from foveal.training.optimizers import Optimizer

_BLANK = b"0" * 64
ROOM = 8
"""So many times a network's own bytes a checkpoint may have: its optimizer's averages take three at most."""
_DIGEST = re.compile(rb'"foveal":"\{\\"digest\\": \\"([0-9a-f]{64})\\"')
"""Where it stands in the header: first in the JSON that is one string there, with its quotes escaped."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a whole file held, read and checked, and not yet taken up."""

    tensors: dict[str, Tensor]
    groups: list[dict[str, Any]]
    """The optimizer's settings: its learning rates, say."""
    state: dict[str, Any]
    """Everything else, as JSON values."""

    def restore(self, network: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Copy the numbers into a live network and its optimizer; without one, the weights alone.

        They are copied into the tensors that are there, so that their memory layout stays: alignment can
        change bits.
        """
        if optimizer is not None:
            _load_optimizer(optimizer, self.tensors, self.groups)
        with torch.no_grad():
            for name, each in network.state_dict().items():
                each.copy_(self.tensors[f"network/{name}"])


def save_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write network, optimizer and `state` (JSON values) to one file, whole or not at all.

    The digest, SHA-256, is that of every byte of the file, with zeros where it stands itself.
    """
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.state_dict()["param_groups"]
    ]
    # One entry of metadata, not two: safetensors writes several in random order, and equal states are to give
    # equal files.
    text = json.dumps({"digest": _BLANK.decode(), "state": state, "optimizer": groups}, allow_nan=False)
    blank = save(_tensors(network, optimizer), {"foveal": text})
    start, end = _place_of_digest(blank, 8 + int.from_bytes(blank[:8], "little"))
    write_bytes(path, blank[:start] + hashlib.sha256(blank).hexdigest().encode() + blank[end:])


class DamagedError(RunError):
    """A checkpoint is not as it was written."""


def read_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer) -> Checkpoint:
    """Read and check a checkpoint of this network and this optimizer, which stay as they are.

    Raises:
        DamagedError: the file is not as it was written.
        RunError: it is whole, and of another network or optimizer.
    """
    most = ROOM * sum(each.nbytes for each in network.state_dict().values())
    try:
        header = tensor_file.read_header(path)
        if header.size > most:  # nor would that fit; before so much is read
            raise RunError(f"the checkpoint {path} is far too large for the network")
        content = tensor_file.read_content(path, header)
        _check_digest(content, 8 + len(header.text))
    except TensorFileError as error:
        raise DamagedError(f"the checkpoint {path} is damaged: {error}") from error
    try:
        _check(header.claims, network, optimizer)
        stored = tensor_file.unpack(content)
        written = json.loads(header.metadata["foveal"])
        state, groups = written["state"], written["optimizer"]
        for then, now in zip(groups, optimizer.state_dict()["param_groups"], strict=True):
            if then.keys() != now.keys() - {"params"}:
                raise TensorFileError("its optimizer is another")
        if not isinstance(state, dict):
            raise TensorFileError("it has no state")
    except (TensorFileError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"the checkpoint {path} does not fit: {error}") from error
    return Checkpoint(tensors=stored, groups=groups, state=state)


def recorded_recipe(path: Path) -> object:
    """Return the recipe that a checkpoint says it was trained by, as JSON; None if it says none.

    Only the header is read, and not compared with the digest: a network changed since cannot be loaded.
    """
    try:
        return json.loads(tensor_file.read_header(path).metadata["foveal"])["state"]["recipe"]
    except (TensorFileError, ValueError, LookupError, TypeError, RecursionError):
        return None


def prune(folder: Path, *, keep: set[int], last: int = 2) -> None:
    """Delete all checkpoints but the `last` ones and those of the steps in `keep`."""
    steps = checkpoint_steps(folder)
    with outside_faults(folder):
        for step in set(steps[:-last]) - keep:
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


def _check(claims: Mapping[str, Claim], network: nn.Module, optimizer: Optimizer) -> None:
    """Accept this network's tensors, and an optimizer's averages that are shaped as its parameters."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    expected = {f"network/{name}": Claim.of(each) for name, each in network.state_dict().items()}
    for name in claims:
        match = re.fullmatch(r"optimizer/(\d{1,6})/[a-z_]+", name)
        if match is not None and int(match[1]) < len(parameters):
            expected[name] = Claim.of(parameters[int(match[1])])
    tensor_file.check_claims(claims, expected)


def _check_digest(content: bytes, header: int) -> None:
    start, end = _place_of_digest(content, header)
    digest = hashlib.sha256(content[:start])
    digest.update(_BLANK)
    digest.update(memoryview(content)[end:])
    if digest.hexdigest().encode() != content[start:end]:
        raise TensorFileError("its digest does not match")


def _place_of_digest(content: bytes, header: int) -> tuple[int, int]:
    """Find the digest."""
    found = _DIGEST.search(content, 0, header)
    if found is None:
        raise TensorFileError("it has no digest")
    return found.span(1)


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
