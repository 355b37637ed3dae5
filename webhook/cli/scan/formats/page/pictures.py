"""Pictures of where a cluster stands, in SVG: a strip of shares with the figures beneath it, which
are its text as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .markup import Markup, element, joined

WIDTH = 1_000
"""Of a picture, in its own units; it is drawn as wide as its place."""
LEAST = 6
"""Of a share that is there at all, so that one among 10,000 is seen."""
GAP = 3


@dataclass(frozen=True)
class Share:
    """A part of a whole: what it is, how many, its colour in page.css, and the filter that shows
    its rows.
    """

    label: str
    count: int
    tone: str
    filter: str


def strip(title: str, noun: str, target: str, shares: Sequence[Share]) -> Markup:
    """Return a figure with one strip of all shares, and each with its number and percentage.

    `target` is the table whose rows are counted.
    """
    total = sum(share.count for share in shares)
    there = [share for share in shares if share.count]
    text = ", ".join(f"{share.label} {share.count:,}" for share in there) or f"no {noun}"
    legend = element(
        "ul",
        *(element("li", *_row(share, total, target)) for share in shares),
        class_="legend",
    )
    caption = element("figcaption", element("h3", title), element("p", f"{total:,} {noun}"))
    drawn = element(
        "svg",
        *_bars([(share.tone, share.count / total * WIDTH) for share in there]),
        class_="strip",
        viewBox=f"0 0 {WIDTH} 28",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{title}: {text}",
    )
    return element("figure", caption, drawn, legend, class_="picture")


def ranking(
    title: str, subtitle: str, target: str, rows_filter: str, counts: Mapping[str, int]
) -> Markup:
    """Return a figure with a bar for each name, as long as its number."""
    most = max(counts.values(), default=1)
    rows = [
        element(
            "li",
            element("a", name, href=f"#{target}", data_filter=f'namespace="{name}" {rows_filter}'),
            element(
                "svg",
                element(
                    "rect", class_="bad", height=8, width=max(LEAST, round(count / most * WIDTH))
                ),
                class_="bar",
                viewBox=f"0 0 {WIDTH} 8",
                preserveAspectRatio="none",
                aria_hidden="true",
            ),
            element("span", f"{count:,}", class_="count"),
        )
        for name, count in counts.items()
    ]
    caption = element("figcaption", element("h3", title), element("p", subtitle))
    return element("figure", caption, element("ol", *rows, class_="ranking"), class_="picture")


def _row(share: Share, total: int, target: str) -> Sequence[Markup]:
    percent = share.count / total * 100 if total else 0
    rounded = "< 1 %" if 0 < percent < 1 else f"{percent:.0f} %"
    swatch = element(
        "svg",
        element("rect", class_=share.tone, width=12, height=12, rx=3),
        class_="swatch",
        viewBox="0 0 12 12",
        aria_hidden="true",
    )
    label = (
        element("a", share.label, href=f"#{target}", data_filter=share.filter)
        if share.count
        else element("span", share.label)
    )
    return (
        swatch,
        label,
        element("span", f"{share.count:,}", class_="count"),
        element("span", rounded, class_="percent"),
    )


def _bars(widths: Sequence[tuple[str, float]]) -> Sequence[Markup]:
    """Bars of these widths, which are scaled so that the least ones are seen and all fit."""
    room = WIDTH - GAP * max(len(widths) - 1, 0)
    visible = [(tone, max(LEAST, width)) for tone, width in widths]
    scale = room / sum(width for _, width in visible) if visible else 0
    bars, at = [], 0.0
    for tone, width in visible:
        drawn = width * scale
        bars.append(element("rect", class_=tone, x=f"{at:.1f}", width=f"{drawn:.1f}", height=28))
        at += drawn + GAP
    return [joined(*bars)]
