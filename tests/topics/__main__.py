"""`make topics`: writes the pages of `boundtoken help` from docs/reference.md, docs/checks.md."""

from tests.support.paths import ROOT
from tests.topics.render import chapter, rendered

FOLDER = ROOT / "webhook/cli/help/topics"
CHAPTERS = {
    "annotations": ("## Annotations",),
    "enforcement": ("## Enforcement",),
    "reasons": ("## Reasons",),
    "failure-modes": ("## Failure modes",),
    "exit-codes": ("### Exit codes",),
    "rbac": ("### Rights", "### Who could undo it"),
    "environment": ("### Environment variables",),
}
"""The headings in docs/reference.md of which each topic is made."""
WHOLE = {"checks": "docs/checks.md"}
"""Topics that are a page of their own."""


def pages() -> dict[str, str]:
    """The text of each topic."""
    text = (ROOT / "docs/reference.md").read_text()
    found = {topic: "\n".join(_parts(text, headings)) for topic, headings in CHAPTERS.items()}
    return found | {topic: _whole((ROOT / page).read_text()) for topic, page in WHOLE.items()}


def _whole(text: str) -> str:
    heading, _, rest = text.partition("\n")
    return rendered(heading.lstrip("# "), rest)


def _parts(text: str, headings: tuple[str, ...]) -> list[str]:
    return [rendered(heading.lstrip("# "), chapter(text, heading)) for heading in headings]


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for topic, text in pages().items():
        (FOLDER / f"{topic}.txt").write_text(text)


if __name__ == "__main__":
    main()
