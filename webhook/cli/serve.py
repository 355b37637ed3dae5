"""`boundtoken serve`: settles flags and variables, chooses the event loop, runs the service until a signal."""

import argparse
import asyncio
import os

import uvloop

from .. import config
from ..log import Log
from ..serving.service import Service


def serve(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settled = config.resolve(vars(parsed), os.environ)
    log = Log(settled.log_level)
    log.takes_over_logging()

    async def run() -> None:
        await Service(settled, dict(os.environ), log).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0
