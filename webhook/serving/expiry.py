"""The warning that the served certificate is about to expire."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from .. import metrics
from ..log import Log
from .tls import LiveCertificate

EXPIRY_WARNING = timedelta(days=1)
"""Before the end of a leaf. It should have been renewed long ago: boundtoken and cert-manager both
renew after two thirds of the lifetime."""
REPEAT_SECONDS = 3600.0


async def warn_before_expiry(live: LiveCertificate, now: Callable[[], datetime], log: Log) -> None:
    """Log an error once an hour while the served certificate is about to expire, for ever.

    A certificate that nobody renews is served on, so somebody must be told.
    """
    while True:
        not_after = live.not_after
        if not_after is not None and not_after - now() < min(EXPIRY_WARNING, live.lifetime / 4):
            metrics.CERTIFICATE_ROTATIONS.labels("leaf", "overdue").inc()
            log.error(
                "certificate is about to expire and was not renewed",
                not_after=not_after.isoformat(),
            )
            await asyncio.sleep(REPEAT_SECONDS)
        await asyncio.sleep(1)
