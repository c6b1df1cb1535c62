"""Which process this is, and whether one that left its record still runs."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from foveal.files.run_records import Writer


def describe_process() -> Writer:
    """Return the record of this process."""
    return Writer(
        pid=os.getpid(),
        host=platform.node(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        birth=_read_birth(os.getpid()),
    )


def is_running(process: Writer) -> bool | None:
    """Return whether a process runs, or None where nobody can know: on another machine, or on Windows."""
    if os.name != "posix" or process.host != platform.node() or not 0 < process.pid < 2**31:
        return None  # on Windows, os.kill would end the process
    own_boot, own_namespace, _ = _split(_read_birth(os.getpid()))
    boot, namespace, _ = _split(process.birth)
    if boot != own_boot and process.birth:
        return False  # the machine was started anew since
    if namespace != own_namespace and process.birth:
        return None  # another container, whose processes have numbers of their own
    try:
        os.kill(process.pid, 0)  # signal 0 checks only whether the process exists
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it exists and belongs to another user
    birth = _read_birth(process.pid)
    return not (process.birth and birth) or birth == process.birth


def _read_birth(pid: int) -> str:
    """Return what tells a process from a later one with its number: the boot, the namespace and the start.

    Only Linux tells; elsewhere it is empty. A process that has ended but was not waited for has none.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        state, *fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return f"{boot} {namespace} {'ended' if state in 'ZX' else fields[18]}"
    except (OSError, LookupError, ValueError):
        return ""


def _split(birth: str) -> tuple[str, str, str]:
    boot, _, rest = birth.partition(" ")
    namespace, _, start = rest.partition(" ")
    return boot, namespace, start
