"""What a command took: seconds, CPU and memory."""

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

PAUSE_SECONDS = 0.01


class Measured(NamedTuple):
    """The exit code; seconds of the clock and of CPU; the most bytes that were resident."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measured(command: list[str], **streams: Any) -> Measured:
    """Run a command to its end.

    Why not the `ru_maxrss` of its usage: it begins at that of the process that started it
    (linux fs/exec.c, exec_mmap), and all tests together have had more.
    """
    begun, peak = time.monotonic(), 0
    process = subprocess.Popen(command, **streams)
    while True:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max(peak, int(next(one for one in lines if one.startswith("VmHWM")).split()[1]))
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(PAUSE_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(process.returncode, time.monotonic() - begun, cpu, peak << 10)
