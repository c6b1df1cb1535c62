"""Files of tensors: what a header may claim."""

import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from foveal.files import tensor_file
from foveal.files.tensor_file import (
    Claim,
    TensorFileError,
    check_claims,
    parse_tensors,
    read_content,
    read_header,
)

CONTENT = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}, {"about": "text"})


def padded(content: bytes, length: int) -> bytes:
    """Make a header as long as that, by spaces, as the format permits."""
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].ljust(length)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def test_a_whole_file_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(CONTENT)
    header = read_header(file)
    assert header.claims == {"a": Claim(torch.float32, (2, 3)), "b": Claim(torch.int64, (2,))}
    assert header.metadata == {"about": "text"}
    check_claims(header.claims, header.claims)
    assert parse_tensors(read_content(file, header))["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_header_has_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(padded(CONTENT, tensor_file.MAX_HEADER_BYTES))
    assert len(read_header(file).claims) == 2
    file.write_bytes(padded(CONTENT, tensor_file.MAX_HEADER_BYTES + 1))
    with pytest.raises(TensorFileError, match="header claims 4,000,001 bytes"):
        read_header(file)


@pytest.mark.parametrize("change", [CONTENT[:-1], CONTENT + b"x", b"", CONTENT[:4]])
def test_a_length_that_does_not_fit_is_seen_before_anything_is_read(tmp_path: Path, change: bytes) -> None:
    (tmp_path / "a").write_bytes(change)
    with pytest.raises(TensorFileError, match="bytes"):
        read_header(tmp_path / "a")


def test_claims_are_compared_by_name_shape_and_type() -> None:
    right = {"a": Claim(torch.float32, (2,))}
    for wrong, reason in (
        ({}, "lacks a"),
        ({**right, "b": right["a"]}, "'b' belongs to no tensor"),
        ({"a": Claim(torch.float64, (2,))}, "its a is"),
        ({"a": Claim(torch.float32, (3,))}, "its a is"),
    ):
        with pytest.raises(TensorFileError, match=reason):
            check_claims(wrong, right)


def test_a_file_exchanged_between_header_and_content_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(CONTENT)
    header = read_header(file)
    file.write_bytes(padded(CONTENT, len(header.text) + 8))
    with pytest.raises(TensorFileError, match="changed meanwhile"):
        read_content(file, header)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TensorFileError, match="no ordinary file"):
        read_header(tmp_path / "pipe")
