"""Files of tensors (safetensors), read with suspicion: the header, then its claims, then the numbers.

Checkpoints and predictions have a digest of the whole file in their header. It is written and checked here.
"""

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

MAX_HEADER_BYTES = 4_000_000
"""The size of the largest header that is read. Our own have some 10,000 bytes."""
_BLANK_DIGEST = b"0" * 64
"""What stands in the place of the digest while the digest is computed."""
_DIGEST_PATTERN = re.compile(rb'"foveal":"\{\\"digest\\": \\"([0-9a-f]{64})\\"')
"""The place of the digest in the header. It comes first in a string of JSON with escaped quotes."""
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Claim:
    """What a header says of a tensor."""

    dtype: torch.dtype
    """The type of its numbers."""
    shape: tuple[int, ...]
    """Its shape."""

    @classmethod
    def of(cls, tensor: Tensor) -> "Claim":
        """Return what a header must say of a tensor."""
        return cls(tensor.dtype, tuple(tensor.shape))


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself. Only the length of the file was compared with it."""

    text: bytes
    """The header as it stands in the file."""
    claims: dict[str, Claim]
    """The claims about each tensor, by name."""
    metadata: dict[str, str]
    """The metadata, texts by name."""
    size: int
    """The number of bytes that follow the header."""


class TensorFileError(Exception):
    """A file of tensors is refused. The caller says which file, and what to do."""


def read_header(path: Path) -> Header:
    """Read a file's header, and none of its numbers.

    Raises:
        TensorFileError: The file cannot be read, or contradicts itself.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited on forever
            raise TensorFileError("it is no ordinary file")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, status.st_size - 8):
                raise TensorFileError(f"its header claims {length:,} bytes")
            text = file.read(length)
    except OSError as error:
        raise TensorFileError(error.strerror or str(error)) from error
    claims, metadata, size = _parse(text)
    if status.st_size != 8 + length + size:
        raise TensorFileError(f"it has {status.st_size:,} bytes in place of {8 + length + size:,}")
    return Header(text=text, claims=claims, metadata=metadata, size=size)


def read_content(path: Path, header: Header) -> bytes:
    """Read the whole of a file whose header was accepted.

    Raises:
        TensorFileError: The file cannot be read, or has changed since.
    """
    begin = len(header.text).to_bytes(8, "little") + header.text
    try:
        with path.open("rb") as file:
            content = file.read(len(begin) + header.size)
    except OSError as error:
        raise TensorFileError(error.strerror or str(error)) from error
    if not content.startswith(begin):
        raise TensorFileError("it was changed meanwhile")
    return content


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a whole file by name.

    Raises:
        TensorFileError: safetensors refuses the content.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise TensorFileError(str(error)) from error


def encode_with_digest(tensors: dict[str, Tensor], values: Mapping[str, object]) -> bytes:
    """Return the content of a file of tensors with JSON `values` and a digest in its header.

    The digest is the SHA-256 of the whole file, with zeros in the place of the digest itself. `read_values`
    returns the values.
    """
    # All in one entry of the metadata: safetensors writes several entries in random order, and equal tensors
    # must give equal files.
    text = json.dumps({"digest": _BLANK_DIGEST.decode(), **values}, allow_nan=False)
    content = save(tensors, {"foveal": text})
    start, end = _find_digest(content, 8 + int.from_bytes(content[:8], "little"))
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[end:]


def check_digest(content: bytes, header: Header) -> None:
    """Compare the content of a whole file with the digest in its header.

    Raises:
        TensorFileError: There is no digest, or it does not match.
    """
    start, end = _find_digest(content, 8 + len(header.text))
    digest = hashlib.sha256(content[:start])
    digest.update(_BLANK_DIGEST)
    digest.update(memoryview(content)[end:])
    if digest.hexdigest().encode() != content[start:end]:
        raise TensorFileError("its digest does not match")


def read_values(header: Header) -> dict[str, Any]:
    """Return the JSON values that `encode_with_digest` put into a header.

    Raises:
        TensorFileError: There are none.
    """
    try:
        values = json.loads(header.metadata["foveal"])
    except (ValueError, LookupError, RecursionError) as error:
        raise TensorFileError(f"its header has no values: {error}") from error
    if not isinstance(values, dict):
        raise TensorFileError("its header has no values")
    return values


def _find_digest(content: bytes, header_size: int) -> tuple[int, int]:
    """Return where the digest begins and ends in the bytes of a file."""
    match = _DIGEST_PATTERN.search(content, 0, header_size)
    if match is None:
        raise TensorFileError("it has no digest")
    return match.span(1)


def check_claims(claims: Mapping[str, Claim], expected: Mapping[str, Claim]) -> None:
    """Compare what a header claims with what must be there.

    Raises:
        TensorFileError: A tensor differs; the message names the first.
    """
    for name in sorted(claims.keys() | expected.keys()):
        if name not in expected:
            raise TensorFileError(f"its {name[:80]!r} belongs to no tensor of the network")
        if name not in claims:
            raise TensorFileError(f"it lacks {name}")
        if claims[name] != expected[name]:
            claim, tensor = claims[name], expected[name]
            raise TensorFileError(
                f"its {name} is {claim.dtype} {claim.shape}, the network's {tensor.dtype} {tensor.shape}"
            )


def _parse(header: bytes) -> tuple[dict[str, Claim], dict[str, str], int]:
    """Return the claims of a header, its metadata, and the number of bytes that follow it."""
    try:
        parsed = json.loads(header)
        metadata = parsed.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TensorFileError("its metadata are no text")
        size = 0
        claims = {}
        for name, entry in parsed.items():
            claims[name], end = _parse_claim(entry)
            size = max(size, end)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise TensorFileError("its header is damaged") from error
    return claims, metadata, size


def _parse_claim(entry: Any) -> tuple[Claim, int]:  # noqa: ANN401 - JSON
    """Return the claim of a header's entry and where its numbers end. Their count must fit the shape."""
    dtype, shape, (start, end) = _TYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    are_sizes = all(type(size) is int and 0 <= size < 1 << 40 for size in (*shape, start, end))
    if not are_sizes or len(shape) > 8 or end - start != prod(shape) * dtype.itemsize:
        raise TensorFileError("its header contradicts itself")
    return Claim(dtype, shape), end
