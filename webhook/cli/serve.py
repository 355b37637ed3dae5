"""`boundtoken serve`: resolves flags and variables, chooses the event loop, and runs the service
until a signal.
"""

import argparse
import asyncio
import os

import uvloop

from .. import log, metrics, options
from ..log import Log
from ..log_writer import Writer
from ..serving.last_good import last_good_for
from ..serving.service import Service


def serve(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    config = options.resolve(vars(parsed), os.environ)
    _open_standard_descriptors()
    writer = Writer(log.STANDARD_ERROR, metrics.LOG_LINES_LOST.inc)
    server_log = Log(config.log_level, writer)
    server_log.capture_stdlib_logging()

    async def run() -> None:
        environ = dict(os.environ)
        last_good = await last_good_for(config, environ, server_log)
        await Service(config, environ, server_log, last_good=last_good).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        writer.close()
    return 0


def _open_standard_descriptors() -> None:
    """Open those that are closed. Otherwise a socket or a part of the event loop would get the
    number of standard error, and log lines would be written into it.
    """
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= log.STANDARD_ERROR:
        pass
    os.close(lowest)
