"""The compiled kernels: found in the cache, or compiled there by the machine's own C compiler, and loaded."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import platformdirs

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")
COMPILERS = ("cc", "gcc", "clang")
SECONDS = 120.0
"""What compiling may take; about one is usual."""

_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
_CONVOLVED = [*[_LONG] * 6, _INT, *[_POINTER] * 2, _LONG, *[_POINTER] * 2, _INT]
SIGNATURES: Mapping[str, tuple[type | None, Sequence[type]]] = {
    "foveal_convolution_memory": (_LONG, [_LONG] * 6 + [_INT] * 2 + [_LONG]),
    "foveal_convolution": (None, [*_CONVOLVED, *[_POINTER] * 2, _INT, *[_POINTER] * 4]),
    "foveal_convolution_back": (None, [*_CONVOLVED, *[_POINTER] * 7]),
    "foveal_sums": (None, [_LONG] * 3 + [_INT, _POINTER, _INT, _POINTER]),
    "foveal_normalise": (None, [_LONG] * 4 + [_INT] + [_POINTER] * 3 + [_INT] * 3 + [_POINTER]),
    "foveal_normalise_back": (None, [_LONG] * 4 + [_INT] + [_POINTER] * 7 + [_INT] * 3 + [_POINTER] * 2),
    "foveal_dropout": (None, [_LONG, _POINTER, ctypes.c_uint32, _FLOAT, _POINTER]),
    "foveal_crops": (None, [_LONG] * 4 + [_INT] + [_POINTER] * 5),
    "foveal_orthogonalise": (None, [_LONG, *[_POINTER] * 3, _INT, _POINTER, _INT]),
    "foveal_rmsprop": (None, [_LONG] + [_POINTER] * 3 + [_FLOAT] * 4),
    "foveal_adam": (None, [_LONG] + [_POINTER] * 4 + [_FLOAT] * 5),
}


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels, or why there are none."""

    loaded: ctypes.CDLL | None
    about: str
    """What they were made of and by whom, or why they are missing."""


_compiling = threading.Lock()
_used: ContextVar[bool] = ContextVar("kernels are used", default=True)


def loaded() -> ctypes.CDLL | None:
    """Return the kernels to use; None where torch's own have to do."""
    return kernels().loaded if _used.get() else None


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let torch's own kernels do everything inside the block."""
    token = _used.set(False)
    try:
        yield
    finally:
        _used.reset(token)


@functools.cache
def kernels() -> Kernels:
    """Load the kernels, compiling them if this machine has not yet.

    Without a compiler, or where compiling fails, there are none: torch's own kernels do the work then.
    """
    source = SOURCE.read_bytes()
    named = os.environ.get("CC", "")
    key = hashlib.sha256(repr((source, FLAGS, named, _processor())).encode()).hexdigest()[:32]
    folder = Path(platformdirs.user_cache_dir("foveal")) / "kernels"
    try:
        with _compiling:
            file = _find(folder, key)
            if file is None:
                command = shlex.split(named) or _compiler()
                if not command:
                    return Kernels(loaded=None, about="no C compiler was found")
                folder.mkdir(parents=True, exist_ok=True)
                file = _compile(command, folder, key)
        # OpenMP's threads must be torch's own, or two pools would wait for each other's cores: with torch
        # loaded first, the linker finds its OpenMP under the name that the kernels ask for. Not before: a
        # compiler may be at work while another thread imports torch.
        import torch  # noqa: F401

        library = ctypes.CDLL(str(file))
        compiler = ctypes.c_char_p.in_dll(library, "foveal_compiler").value or b""
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except subprocess.CalledProcessError as error:
        return Kernels(loaded=None, about=f"the C compiler failed: {error.stderr.strip()[:500]}")
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired) as error:
        return Kernels(loaded=None, about=f"{type(error).__name__}: {error}")
    digest = hashlib.sha256(source).hexdigest()[:16]
    return Kernels(loaded=library, about=f"source {digest}, compiler {compiler.decode()}")


def _compiler() -> list[str]:
    """Find a C compiler by its usual names."""
    return [found for name in COMPILERS if (found := shutil.which(name))][:1]


def _find(folder: Path, key: str) -> Path | None:
    """Find compiled kernels that are whole: to load a damaged library could end the process."""
    for file in folder.glob(f"{key}-*.so"):
        if file.name == _name(key, file.read_bytes()):
            return file
    return None


def _name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile the kernels to a file, whole or not at all: several processes may be at it."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as place:
        new = Path(place) / "kernels.so"
        subprocess.run(  # noqa: S603 - the machine's own compiler, or what its owner names
            [*command, *FLAGS, str(SOURCE), "-o", str(new), "-lm"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return new.replace(folder / _name(key, new.read_bytes()))


def _processor() -> bytes:
    """Describe the processor: the kernels use all its instructions, and machines may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kept = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        return "\n".join(kept).encode()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}".encode()
