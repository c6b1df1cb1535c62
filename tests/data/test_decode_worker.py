"""One file in, one outcome out. What happens between processes is in test_workers.py."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from foveal.data import decode_worker
from foveal.data.decode import Decoding, encode_png
from foveal.data.decode_worker import Outcome

DECODING = Decoding(size=8, channels=3, fit="stretch", background="black")


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_a_worker_answers_each_chunk_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        decode_worker, "_limit_memory", lambda n_bytes: None
    )  # it would stay for the other tests
    (tmp_path / "a.png").write_bytes(encode_png(image(1)))
    file = tmp_path / "pixels"
    np.zeros((3, 8, 8, 3), np.uint8).tofile(file)
    np.zeros(1, np.int64).tofile(tmp_path / "place")
    monkeypatch.setattr(decode_worker, "_end_with", lambda parent: None)
    header = {
        "root": str(tmp_path),
        "pixels": str(file),
        "place": str(tmp_path / "place"),
        "n_images": 3,
        "decoding": DECODING.to_json(),
        "measure": False,
        "parent": os.getppid(),
    }
    lines = [header, [[2, "a.png"]], [[0, "gone.png"]]]
    answers = io.StringIO()
    decode_worker.run_worker(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)

    ready, first, second = map(json.loads, answers.getvalue().splitlines())
    assert ready is None
    assert Outcome(*first[0]).error is None
    assert len(first[0][0]) == 32
    assert Outcome(*second[0]).error == "cannot be read: No such file or directory"
    pixels = np.fromfile(file, np.uint8).reshape(3, 8, 8, 3)
    assert np.array_equal(pixels[2], image(1))
    assert not pixels[:2].any()


def test_a_locked_file_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, but for root too."""
    (tmp_path / "secret").write_bytes(encode_png(image(0)))

    def refuse(path: str, mode: str, *, buffering: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode_worker, "open", refuse, raising=False)
    outcome = decode_worker.decode_file(
        str(tmp_path), "secret", DECODING, np.zeros((1, 8, 8, 3), np.uint8), 0
    )
    assert outcome == Outcome(error="cannot be read: Permission denied", retry=True)
