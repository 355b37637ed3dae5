"""What is found of the pods of one owner, or of one template: counted, so that ten thousand pods
leave a few hundred findings.
"""

import dataclasses

from ..simulation import living
from ..simulation.living import Owner
from .again import Again
from .report import Level, is_year_long, lowest
from .space import Space
from .tokens import Tokens

MAX_SENTENCES = 8
"""Of one owner: there are as many checks in the rules of a level."""


@dataclasses.dataclass(slots=True)
class Group:
    """The pods of an owner, `title` such as `deployment/cart`. `pod` is the name of one of them,
    empty for a template; `place` is the file of a manifest, and `is_edited` is of a template whose
    pods have other tokens. `again` is what the last
    one of them would get now, None where that is not known.
    """

    space: Space
    title: str
    owner: Owner | None = None
    pod: str = ""
    place: str = ""
    pods: int = 0
    year_long: int = 0
    missing: int = 0
    stale: int = 0
    level: Level = "strict"
    sentences: dict[str, None] = dataclasses.field(default_factory=dict)
    again: Again | None = None
    is_edited: bool = False

    def add(self, found: Tokens) -> None:
        """Count the tokens of a pod, or of a template."""
        self.pods += 1
        self.year_long += any(is_year_long(one.lifetime_seconds) for one in found.tokens)
        self.level = lowest(self.level, found.level)
        for sentence in found.sentences:
            if len(self.sentences) < MAX_SENTENCES:
                self.sentences[sentence] = None

    def compare(self, has: living.Tokens, again: Again, *, differs: bool) -> None:
        """Compare a living pod, or a template, with what it would get now. What we did not do to
        it, or what another webhook took off again, is missing; what we did otherwise is stale.
        """
        self.again = again
        if again.is_missed or (differs and again.is_injected and has.hash in ("", again.has.hash)):
            self.missing += 1
        elif differs and (has.hash or again.has.hash):
            self.stale += 1

    @property
    def restart(self) -> tuple[str, str]:
        """What makes its pods again, as a command and as a remark; both may be empty."""
        if not self.pod or not living.is_name(self.space.name):
            return "", ""
        command, remark = living.restart(self.owner, self.pod, self.space.name)
        if self.pods > 1 and command.startswith("kubectl delete pod/"):
            remark = f"{remark}; the same for its other pods"
        return command, remark
