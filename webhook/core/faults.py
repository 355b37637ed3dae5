"""Faults in annotations and settings. A fault is a value that is reported with the decision, never
an exception.
"""

import msgspec

from . import names
from .text import quote, truncate


class Fault(msgspec.Struct, frozen=True):
    """A setting that cannot be used as written: its object (`layer`), its annotation and value, and
    what is done instead.
    """

    layer: str
    annotation: str
    value: str
    problem: str

    def __str__(self) -> str:
        return self.on(f"the {self.layer}")

    def on(self, place: str) -> str:
        """Return the fault as a sentence that calls its object `place`."""
        name = self.annotation if self.annotation.isprintable() else quote(self.annotation)
        return truncate(f"{name}={quote(self.value)} on {place}: {self.problem}")


def more_faults(layer: str, number: int) -> list[Fault]:
    """Return the fault that stands for all above the maximum, if there are so many."""
    more = number - names.MAX_FAULTS
    return (
        [Fault(layer, f"{names.DOMAIN}*", "", f"and {more} more faults of this kind")]
        if more > 0
        else []
    )
