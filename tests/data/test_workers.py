import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from foveal.data import decode_worker, workers
from foveal.data.decode import Decoding, decode, encode_png
from foveal.data.decode_worker import Outcome
from foveal.data.workers import decode_files
from foveal.errors import OutsideError

Pixels = NDArray[np.uint8]
DECODING = Decoding(size=8, channels=3, fit="stretch", background="black")


class Count:
    """A bar that only counts."""

    def __init__(self) -> None:
        self.n = 0

    def advance(self, n: int = 1) -> None:
        self.n += n

    def show(self, **figures: str) -> None:
        raise AssertionError


def image(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def run(
    root: Path, names: list[str], *, rows: list[int] | None = None, decoding: Decoding = DECODING
) -> tuple[dict[int, Outcome], Pixels]:
    """Decode files into rows 0, 1, …, or those given; return what became of them and the pixels."""
    file = root / ".pixels"
    rows = rows or list(range(len(names)))
    shape = (max(rows, default=0) + 1, decoding.size, decoding.size, decoding.channels)
    np.full(shape, 77, dtype=np.uint8).tofile(file)
    bar = Count()
    outcomes = decode_files(
        root, list(zip(rows, names, strict=True)), decoding=decoding, pixels=file, n_images=shape[0], bar=bar
    )
    assert bar.n == len(names)
    return outcomes, np.fromfile(file, dtype=np.uint8).reshape(shape)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace what workers run: the real worker, but `decode` does `what` on files that hold b"poison"."""

    def install(what: str) -> None:
        script = tmp_path / "stub.py"
        script.write_text(
            "import os, signal, sys, time\n"
            "from foveal.data import decode_worker\n"
            "real = decode_worker.decode\n"
            "def decode(content, decoding, **options):\n"
            "    if content == b'poison':\n"
            f"        {what}\n"
            "    return real(content, decoding, **options)\n"
            "decode_worker.decode = decode\n"
            "decode_worker.run_worker(sys.stdin, sys.stdout)\n"
        )
        monkeypatch.setattr(workers, "WORKER_COMMAND", (sys.executable, str(script)))

    return install


def test_the_same_as_decoding_here(tmp_path: Path) -> None:
    images = [image(seed) for seed in range(600)]  # three chunks
    names = [f"{seed}.png" for seed in range(600)]
    for name, each in zip(names, images, strict=True):
        (tmp_path / name).write_bytes(encode_png(each))
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(10, 20, 3)).save(tmp_path / "7.png", "JPEG")
    images[7] = decode((tmp_path / "7.png").read_bytes(), DECODING).pixels

    outcomes, pixels = run(tmp_path, names)
    assert len(names) > 2 * workers.MAX_FILES_PER_CHUNK
    assert sorted(outcomes) == list(range(600))
    assert np.array_equal(pixels, np.stack(images))
    assert all(outcome.error is None for outcome in outcomes.values())
    assert len({outcome.digest for outcome in outcomes.values()}) == 600


def test_rows_go_where_they_are_asked_to(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(encode_png(image(seed)))

    outcomes, pixels = run(tmp_path, ["0.png", "1.png", "2.png"], rows=[4, 1, 6])
    assert sorted(outcomes) == [1, 4, 6]
    assert np.array_equal(pixels[[4, 1, 6]], [image(0), image(1), image(2)])
    assert (pixels[[0, 2, 3, 5]] == 77).all()


def test_absolute_paths_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    outcomes, pixels = run(tmp_path / "root", [str(tmp_path / "0.png")])
    assert outcomes[0].error is None
    assert np.array_equal(pixels[0], image(0))


def test_what_is_known_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "colour").write_bytes(encode_png(image(0)))
    (tmp_path / "same").write_bytes(encode_png(image(0)))
    (tmp_path / "grey").write_bytes(encode_png(image(0)[:, :, 0]))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.array([[7, 900], [30, 8]], dtype=np.uint16)).save(tmp_path / "deep", "PNG")

    names = ["colour", "same", "grey", "text.png", "empty.png", "deep"]
    outcomes, pixels = run(tmp_path, names)
    found = dict(zip(names, outcomes.values(), strict=True))
    assert found["colour"].digest == found["same"].digest != found["grey"].digest
    assert (found["colour"].grey, found["grey"].grey) == (False, True)
    assert (found["deep"].deep or ())[:2] == (7.0, 900.0)
    assert found["deep"].error is None
    assert (
        found["text.png"].error == "no image in a known format: JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, HEIF"
    )
    assert found["empty.png"].error == "the file is empty"
    assert found["text.png"].digest
    assert not any(outcome.retry for outcome in outcomes.values())
    assert (pixels[3:] == 77).all()

    ranged = Decoding(size=8, channels=3, fit="stretch", background="black", deep_range=(8.0, 100.0))
    outcomes, _ = run(tmp_path, ["deep"], decoding=ranged)
    assert outcomes[0].clipped == 2
    assert outcomes[0].grey


def test_nothing_to_do(tmp_path: Path) -> None:
    outcomes, _ = run(tmp_path, [])
    assert outcomes == {}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "whole").write_bytes(encode_png(image(0)))
    names = ["vanished", "folder", "whole", "no\0name"]

    outcomes, _ = run(tmp_path, names)
    *found, unnameable = [(outcome.error, outcome.retry) for outcome in outcomes.values()]
    assert found == [
        ("cannot be read: No such file or directory", False),
        ("cannot be read: it is no ordinary file", False),
        (None, False),
    ]
    assert str(unnameable[0]).startswith("cannot be read: ")  # Python's versions word it differently
    assert "embedded null" in str(unnameable[0])
    assert outcomes[0].digest == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(encode_png(image(0)))
    (tmp_path / "secret").chmod(0)
    assert run(tmp_path, ["secret"])[0][0].error == "cannot be read: Permission denied"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(decode_worker.MAX_FILE_BYTES + 1)
    outcomes, _ = run(tmp_path, ["huge"])
    assert outcomes[0].error == "larger than 100,000,000 bytes"
    assert not outcomes[0].retry


@pytest.mark.skipif(os.name != "posix", reason="no pipes with names elsewhere")
def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    outcomes, _ = run(tmp_path, ["pipe.png", "link.png"])
    assert {outcome.error for outcome in outcomes.values()} == {"cannot be read: it is no ordinary file"}


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    names = [
        os.fsdecode(name) for name in (b"\xff\xfe.png", b"line\nbreak.png", "日本.png".encode(), b'"quote\\')
    ]
    for seed, name in enumerate(names):
        (tmp_path / name).write_bytes(encode_png(image(seed)))

    outcomes, pixels = run(tmp_path, names)
    assert [outcome.error for outcome in outcomes.values()] == [None] * 4
    assert np.array_equal(pixels, [image(seed) for seed in range(4)])


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_a_file_that_kills_its_decoder_takes_no_other_along(
    tmp_path: Path, stub: Callable[[str], None], end: str
) -> None:
    stub(end)
    names = [f"{seed}.png" for seed in range(12)]
    for seed, name in enumerate(names):
        (tmp_path / name).write_bytes(b"poison" if seed in (3, 4, 11) else encode_png(image(seed)))

    outcomes, pixels = run(tmp_path, names)
    dead = Outcome(error="the decoder died", retry=True)
    assert [row for row, outcome in sorted(outcomes.items()) if outcome == dead] == [3, 4, 11]
    for row in set(range(12)) - {3, 4, 11}:
        assert outcomes[row].error is None
        assert np.array_equal(pixels[row], image(row))


def test_a_file_that_is_never_done_is_given_up(
    tmp_path: Path, stub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub("time.sleep(600)")
    (tmp_path / "bad").write_bytes(b"poison")
    monkeypatch.setattr(workers, "MAX_STALL_SECONDS", -10.0)  # 1 + 0.1 · 4 · 25 are added

    began = time.monotonic()
    outcomes, _ = run(tmp_path, ["bad"])
    assert time.monotonic() - began < 20
    assert outcomes[0] == Outcome(error="the decoder took longer than 1 seconds")


def test_workers_that_do_not_start_are_an_outside_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a fault of the files: they must not be called unreadable."""
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    monkeypatch.setattr(workers, "WORKER_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(
        OutsideError, match=r"no image can be decoded: the decoder died; to see why: .*SystemExit"
    ):
        run(tmp_path, ["0.png"])

    monkeypatch.setattr(workers, "WORKER_COMMAND", (str(tmp_path / "no-python"),))
    with pytest.raises(OutsideError, match="cannot start a process to decode images: No such file"):
        run(tmp_path, ["0.png"])


def test_workers_find_the_package_wherever_it_was_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script may have found Foveal by changing `sys.path`; its workers are told."""
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    monkeypatch.setattr(sys, "path", ["", "/of/the/script", *sys.path])
    answer = "import os; print(os.environ['PYTHONPATH'])"
    monkeypatch.setattr(workers, "WORKER_COMMAND", (sys.executable, "-I", "-c", answer))
    with pytest.raises(OutsideError, match=f"the decoder said /of/the/script{os.pathsep}"):
        run(tmp_path, ["0.png"])


def test_the_working_folder_hides_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    for name in ("json.py", "numpy.py", "foveal.py"):
        (tmp_path / name).write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, ["0.png"])[0][0].error is None


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_waits_for_nothing(tmp_path: Path, stub: Callable[[str], None]) -> None:
    stub("open(sys.argv[0] + '.busy', 'a').close() or time.sleep(600)")
    (tmp_path / "bad").write_bytes(b"poison")
    busy = tmp_path / "stub.py.busy"

    def interrupt() -> None:
        for _ in range(1000):
            if busy.exists():
                break
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["bad"] * 600)
    thread.join()
    assert time.monotonic() - began < 30
    assert busy.exists()


def test_what_takes_too_long_is_given_up_alone_and_not_tried_again(
    tmp_path: Path, stub: Callable[[str], None]
) -> None:
    """Processor time counts. The files around it are decoded once: those before it are not decoded again."""
    stub("[0 for _ in iter(int, 1)]")
    names = [f"{seed}.png" for seed in range(8)]
    for seed, name in enumerate(names):
        (tmp_path / name).write_bytes(b"poison" if seed == 4 else encode_png(image(seed)))

    outcomes, pixels = run(tmp_path, names)
    reason = "takes far longer to decode than a picture of its size should"
    assert outcomes[4] == Outcome(error=reason, retry=False)
    for row in set(range(8)) - {4}:
        assert outcomes[row].error is None
        assert np.array_equal(pixels[row], image(row))


def test_a_file_that_killed_its_decoder_once_is_tried_again(
    tmp_path: Path, stub: Callable[[str], None]
) -> None:
    stub("open(sys.argv[0] + '.once', 'x').close() or os._exit(1)")
    (tmp_path / "bad").write_bytes(b"poison")
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    outcomes, _ = run(tmp_path, ["bad", "0.png"])
    assert outcomes[0].error == "the decoder died"  # the second time `open` raises, which ends it too
    assert outcomes[1].error is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    """Even in the middle of a file, and even if the parent is killed."""
    (tmp_path / "bad").write_bytes(b"poison")
    (tmp_path / "pixels").write_bytes(bytes(8 * 8 * 3))
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from foveal.data import decode_worker\n"
        "def decode(content, decoding, **options):\n"
        f"    Path({str(tmp_path / 'number')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "decode_worker.decode = decode\n"
        "decode_worker.run_worker(sys.stdin, sys.stdout)\n"
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from foveal import progress\n"
        "from foveal.data import workers\n"
        "from foveal.data.decode import Decoding\n"
        f"workers.WORKER_COMMAND = (sys.executable, {str(script)!r})\n"
        "decoding = Decoding(size=8, channels=3, fit='stretch', background='black')\n"
        "with progress.bar(1, '', '') as bar:\n"
        f"    workers.decode_files(Path({str(tmp_path)!r}), [(0, 'bad')], decoding=decoding,\n"
        f"        pixels=Path({str(tmp_path / 'pixels')!r}), n_images=1, bar=bar)\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)])
    deadline = time.monotonic() + 60
    number = tmp_path / "number"
    while not (number.exists() and number.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = Path("/proc") / number.read_text()
    process.kill()
    process.wait()
    while worker.exists() and "\nState:\tZ" not in (worker / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_small_sets_are_shared_out_among_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "count_usable_cores", lambda: 2)
    sizes: list[int] = []
    real = workers._Worker.decode

    def decode(self: workers._Worker, chunk: list[tuple[int, str]]) -> list[Outcome]:
        sizes.append(len(chunk))
        return real(self, chunk)

    monkeypatch.setattr(workers._Worker, "decode", decode)
    (tmp_path / "0.png").write_bytes(encode_png(image(0)))
    run(tmp_path, ["0.png"] * 160)
    assert sizes == [10] * 16


def test_outcomes_as_json_are_short_and_come_back(tmp_path: Path) -> None:
    for outcome in (
        Outcome(digest="ab"),
        Outcome(digest="ab", grey=True),
        Outcome(error="odd", retry=True),
        Outcome(digest="ab", deep=(0.0, 1.5), notes=("pages", "dim"), seconds=0.5),
    ):
        assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    assert Outcome(digest="ab").to_json() == ("ab",)
