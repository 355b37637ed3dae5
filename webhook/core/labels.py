"""The label that a namespace which enforces carries, because selectors see nothing else; kept here, whoever changes it."""

from . import demands, names, patch
from .finals import Namespace
from .patch import Operation


def keep(namespace: Namespace) -> list[Operation]:
    """What gives a namespace the label that its `enforce` annotation wants, or takes it away."""
    metadata = namespace.metadata
    wanted = "true" if demands.named(metadata.annotations) != "off" else None
    held = (metadata.labels or {}).get(names.ENFORCED)
    if wanted == held:
        return []
    pointer = patch.member("/metadata/labels", names.ENFORCED)
    if wanted is None:
        return [patch.remove(pointer)]
    if metadata.labels is None:
        return [patch.add("/metadata/labels", {names.ENFORCED: wanted})]
    return [patch.add(pointer, wanted)]
