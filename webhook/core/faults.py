"""What people wrote and we cannot do as it stands: a value that travels with the decision, never an
exception.
"""

import msgspec

from . import names
from .text import quote, truncate


class Fault(msgspec.Struct, frozen=True):
    """Something written that we cannot do as it stands: who wrote it (`layer`), where, what, and
    what would be right.
    """

    layer: str
    annotation: str
    value: str
    problem: str

    def __str__(self) -> str:
        name = self.annotation if self.annotation.isprintable() else quote(self.annotation)
        return truncate(f"{name}={quote(self.value)} on the {self.layer}: {self.problem}")


def more_faults(layer: str, found: int) -> list[Fault]:
    """What stands for the faults that are not told of one by one."""
    more = found - names.MAX_FAULTS
    return (
        [Fault(layer, f"{names.DOMAIN}*", "", f"and {more} more faults of this kind")]
        if more > 0
        else []
    )
