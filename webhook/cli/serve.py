"""`boundtoken serve`: settles flags and variables, chooses the event loop, runs the service until a
signal.
"""

import argparse
import asyncio
import os

import uvloop

from .. import log, metrics, options
from ..log import Log
from ..log_writer import Writer
from ..serving.service import Service


def serve(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settled = options.resolve(vars(parsed), os.environ)
    _open_standard_descriptors()
    writer = Writer(log.STANDARD_ERROR, metrics.LOG_LINES_LOST.inc)
    said = Log(settled.log_level, writer)
    said.capture_stdlib_logging()

    async def run() -> None:
        await Service(settled, dict(os.environ), said).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        writer.close()
    return 0


def _open_standard_descriptors() -> None:
    """One that is closed would become a socket or a part of the event loop, and log lines would be
    written there.
    """
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= log.STANDARD_ERROR:
        pass
    os.close(lowest)
