"""Loading the kernels: from the cache, or compiled by the machine's own C compiler."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from foveal.engine.signatures import SIGNATURES

SOURCE_FOLDER = Path(__file__).with_name("kernels")
"""The folder of the C files; `kernels.c` includes all others."""
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")
"""The flags for the C compiler."""
COMPILER_NAMES = ("cc", "gcc", "clang")
"""The compilers that are looked for, in this order, where the variable CC is not set."""
COMPILE_TIMEOUT_S = 120.0
"""The number of seconds after which compiling is given up. It usually takes about one second."""


@dataclass(frozen=True, kw_only=True)
class KernelLibrary:
    """The compiled kernels, or the reason why there are none."""

    library: ctypes.CDLL | None
    """The loaded library, or None."""
    description: str
    """The digest of the source and the compiler's version, or why there is no library."""


_compiling = threading.Lock()
_kernels_enabled: ContextVar[bool] = ContextVar("kernels are enabled", default=True)


def library_or_none() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None where torch's own kernels are to be used."""
    return load_library().library if _kernels_enabled.get() else None


def require_library() -> ctypes.CDLL:
    """Return the compiled kernels, for a caller who knows that there are some."""
    library = library_or_none()
    assert library is not None
    return library


@contextmanager
def without_kernels() -> Iterator[None]:
    """Use torch's own kernels for everything inside the block."""
    token = _kernels_enabled.set(False)
    try:
        yield
    finally:
        _kernels_enabled.reset(token)


@functools.cache
def load_library() -> KernelLibrary:
    """Load the kernels, and compile them if this machine has not done so yet.

    Without a compiler, or where compiling fails, there is no library. Torch's own kernels do the work then.
    """
    source = read_source()
    try:
        file = _find_or_compile(source)
        if file is None:
            return KernelLibrary(library=None, description="no C compiler was found")
        library = _open(file)
        compiler = ctypes.c_char_p.in_dll(library, "foveal_compiler").value or b""
    except subprocess.CalledProcessError as error:
        return KernelLibrary(library=None, description=f"the C compiler failed: {error.stderr.strip()[:500]}")
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired) as error:
        return KernelLibrary(library=None, description=f"{type(error).__name__}: {error}")
    digest = hashlib.sha256(source).hexdigest()[:16]
    return KernelLibrary(library=library, description=f"source {digest}, compiler {compiler.decode()}")


def read_source() -> bytes:
    """Return the names, sizes and contents of all C files: a change of any of them changes the digest."""
    return b"".join(
        f"{file.name}\0{file.stat().st_size}\0".encode() + file.read_bytes()
        for file in sorted(SOURCE_FOLDER.glob("*.[ch]"))
    )


def _find_or_compile(source: bytes) -> Path | None:
    """Return the compiled library's path, or None if there is no compiler."""
    named_compiler = os.environ.get("CC", "")
    inputs = (source, FLAGS, named_compiler, _describe_processor())
    key = hashlib.sha256(repr(inputs).encode()).hexdigest()[:32]
    folder = Path(platformdirs.user_cache_dir("foveal")) / "kernels"
    with _compiling:
        if (file := _find_undamaged(folder, key)) is not None:
            return file
        command = shlex.split(named_compiler) or _find_compiler()
        if not command:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return _compile(command, folder, key)


def _open(file: Path) -> ctypes.CDLL:
    """Load a library and declare its functions."""
    # OpenMP's threads must be torch's own, or two pools would wait for each other's cores: with torch
    # loaded first, the linker finds its OpenMP under the name that the kernels ask for. Not before: a
    # compiler may be at work while another thread imports torch.
    import torch  # noqa: F401

    library = ctypes.CDLL(str(file))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _find_compiler() -> list[str]:
    """Find a C compiler by its usual names."""
    return [path for name in COMPILER_NAMES if (path := shutil.which(name))][:1]


def _find_undamaged(folder: Path, key: str) -> Path | None:
    """Find a compiled library that is whole: to load a damaged one could end the process."""
    for file in folder.glob(f"{key}-*.so"):
        if file.name == _file_name(key, file.read_bytes()):
            return file
    return None


def _file_name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile the kernels to a file that is whole or not there: several processes may compile at once."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as place:
        new = Path(place) / "kernels.so"
        subprocess.run(  # noqa: S603 - the machine's own compiler, or the one that its owner names
            [*command, *FLAGS, str(SOURCE_FOLDER / "kernels.c"), "-o", str(new), "-lm"],
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=True,
        )
        return new.replace(folder / _file_name(key, new.read_bytes()))


def _describe_processor() -> bytes:
    """Describe the processor: the kernels use all its instructions, and machines may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}".encode()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    ).encode()
