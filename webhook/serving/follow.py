"""Following the legacy token Secrets, where somebody wants pods to be judged by them."""

from .. import metrics
from ..cluster import legacy_tokens, watch
from ..cluster.client import ApiClient
from ..cluster.legacy_tokens import LegacyTokens
from ..log import Log


async def follow(client: ApiClient, tokens: LegacyTokens, log: Log) -> None:
    """Keep the cache up to date; a change of its state is told once."""
    lost = ""
    async for event in watch.stream(
        client,
        legacy_tokens.PATH,
        legacy_tokens.from_metadata,
        field_selector=legacy_tokens.SELECTOR,
    ):
        if isinstance(event, watch.Disconnected):
            if not lost:
                hint = (
                    ""
                    if tokens.synced
                    else "the component manifests/optional/legacy-tokens gives the right to list them"
                )
                log.warning("legacy token watch interrupted", problem=event.problem, hint=hint)
            lost = event.problem
            continue
        lost = ""
        tokens.apply(event)
        if isinstance(event, watch.Listed):
            log.info("legacy tokens listed", secrets=len(event.items), reason=event.reason)
        metrics.LEGACY_TOKENS_SYNCED.set(tokens.synced)
