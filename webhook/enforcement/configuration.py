"""The decision on a ConfigMap with the cluster's configuration: one with faults is denied when it
is applied, because a replica would reject it a minute later, where nobody is looking.

The webhook fails open, and a replica checks its file by itself.
"""

from collections.abc import Callable

from ..core import names
from ..core.decision import Decision
from ..core.full_views import ConfigMap
from ..core.review import ValidationRequest
from ..core.text import quote, truncate, truncate_warnings
from .validate import MAX_MESSAGE_CHARS

MISSING = f"data must have the key {names.CONFIG_KEY}"
BUSY = "the configuration was not checked: others are being checked; boundtoken config check FILE does it"

FindFaults = Callable[[str], tuple[str, ...]]
"""Returns the faults of a configuration, each with its path; none if it is valid."""


def decide(request: ValidationRequest, find_faults: FindFaults) -> Decision:
    """Decide on a ConfigMap that is created or updated.

    One that had the same text before is only warned of, so that its metadata can be edited.
    """
    new, old = request.object, request.old_object
    if not isinstance(new, ConfigMap):
        return Decision("not-applicable")
    text = new.data.configuration if new.data is not None else None
    faults = (MISSING,) if text is None else find_faults(text)
    if not faults:
        return Decision("complies")
    name = request.name or new.metadata.name
    place = "" if text is None else f' data["{names.CONFIG_KEY}"]'
    where = f"configmap/{name if name.isprintable() else quote(name)}"[:300] + place
    if isinstance(old, ConfigMap) and old.data == new.data:
        warnings = truncate_warnings(f"{where}: {fault}" for fault in faults)
        return Decision("violates", "warned", warnings=warnings)
    denial = truncate(f"{where}: " + "; ".join(faults), MAX_MESSAGE_CHARS)
    return Decision("violates", "denied", denial=denial)
