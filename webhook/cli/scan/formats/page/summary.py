"""The parts of the page that are there without a script: what a reader has to know first, the
figures and pictures of the summary.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .markup import Markup, clean, element, joined
from .pictures import Share, ranking, strip
from .tables import LEVELS, LIVES, SEVERITIES, Report, Table, life

TONES = {
    "never": "worst",
    "year": "bad",
    "days": "poor",
    "hours": "fair",
    "hour": "good",
    "unknown": "open",
}
LEVEL_TONES = {"none": "bad", "bound": "fair", "strict": "good"}
LEVEL_LABELS = {
    "none": "no level reached",
    "bound": "reach bound",
    "strict": "reach strict",
}
LONG = ("never", "year")
LONG_FILTER = f"life={'|'.join(LONG)}"
MOST = 8
"""Namespaces in the ranking."""
GONE = {
    "tokens": "tokens",
    "findings": "findings",
    "secrets": "Secrets",
    "serviceAccounts": "service accounts",
    "minters": "rights",
}
MOST_GAPS = 5
"""Of what was not seen, named at the top."""


def notices(report: Report, tables: Mapping[str, Table]) -> Markup:
    """What limits everything below: an unfinished scan, rights that lack, rows left out."""
    unread = report["unread"]
    found = []
    if not report["complete"]:
        found.append(
            element(
                "p",
                element("strong", "This scan is incomplete."),
                " It tells what was seen until it ended; what is not here may still be there.",
            )
        )
    if unread:
        named = [f"{clean(one['what'])} ({clean(one['why'])})" for one in unread[:MOST_GAPS]]
        more = f" and {len(unread) - MOST_GAPS} more" if len(unread) > MOST_GAPS else ""
        found.append(
            element(
                "p",
                element("strong", "Not everything was seen: "),
                f"{', '.join(named)}{more}. ",
                element("a", "What was not seen", href="#unread"),
            )
        )
    if (since := report.get("since")) is not None:
        found.append(_since(since))
    for table in tables.values():
        if len(table.rows) < table.total:
            text = f"The first {len(table.rows):,} of {table.total:,} {table.noun} are on this page"
            found.append(element("p", f"{text}; -o json has all of them."))
    return element("div", *found, class_="notices", role="note") if found else Markup("")


def _since(gone: Mapping[str, Any]) -> Markup:
    """That only what is new is here, and what is gone."""
    title = f"Only what is new since {clean(gone['time']) or 'the earlier scan'} is on this page. "
    parts = [f"{len(gone[name]):,} {words}" for name, words in GONE.items() if gone[name]]
    objects = dict.fromkeys(
        f"{clean(one['namespace'])}/{clean(one['owner'] or one['object'])}"
        for one in gone["tokens"]
    )
    named = ", ".join(list(objects)[:MOST_GAPS])
    more = f" and {len(objects) - MOST_GAPS} more" if len(objects) > MOST_GAPS else ""
    which = f": the tokens of {named}{more}" if objects else ""
    text = (
        f"Gone are {', '.join(parts)}{which}. -o json has all of them."
        if parts
        else "Nothing is gone."
    )
    reasons: Counter[str] = Counter()
    for one in gone.get("notComparable", ()):
        reasons[clean(one["why"])] += one["count"]
    if reasons:
        counted = "; ".join(f"{count:,}: {why}" for why, count in reasons.items())
        text += f" {reasons.total():,} rows are not comparable, and are not here ({counted})."
    return element("p", element("strong", title), text)


def headline(report: Report) -> str:
    """The one sentence that matters most."""
    tokens = report["tokens"]
    long = sum(1 for token in tokens if life(token) in LONG)
    new = " new" if report.get("since") is not None else ""
    if not tokens:
        return f"No{new} token was seen."
    of_all = f"{len(tokens):,}{new} tokens"
    if not report["complete"] or report["unread"]:
        of_all = f"the {of_all} that were seen"
    count = f"{long:,}" if long else "None"
    text = f"{count} of {of_all} {'live' if long > 1 else 'lives'} for a year or longer."
    more = sum(one["tokens"] for one in report.get("leftOut", ()))
    return f"{text} {more:,} more are not here, of objects that have very many." if more else text


def summary(report: Report) -> Markup:
    """The section with figures, pictures and the kinds of findings."""
    return element(
        "section",
        element("h2", "Summary", class_="unseen"),
        element("p", headline(report), class_="headline"),
        _figures(report),
        element("div", *_pictures(report), class_="pictures"),
        _kinds(report),
        id="summary",
    )


@dataclass(frozen=True)
class _Figure:
    """A number, the table and the filter that show what it counts, and whether it had best be 0."""

    label: str
    count: int
    target: str
    filter: str = ""
    is_bad: bool = False


def _figures(report: Report) -> Markup:
    long = sum(1 for token in report["tokens"] if life(token) in LONG)
    errors = sum(1 for finding in report["findings"] if finding["severity"] == "error")
    uncovered = sum(1 for namespace in report["namespaces"] if not namespace["covered"])
    minters = len({minter["subject"] for minter in report["minters"]})
    figures = (
        _Figure("Tokens", len(report["tokens"]), "tokens"),
        _Figure("Live for a year or longer", long, "tokens", LONG_FILTER, is_bad=True),
        _Figure("Secrets with a token", len(report["secrets"]), "secrets", is_bad=True),
        _Figure("Namespaces not covered", uncovered, "namespaces", "covered=no", is_bad=True),
        _Figure("Errors found", errors, "findings", "severity=error", is_bad=True),
        _Figure("Subjects that may mint tokens", minters, "minters"),
    )
    return element("dl", *map(_figure, figures), class_="figures")


def _figure(figure: _Figure) -> Markup:
    number = element("a", f"{figure.count:,}", href=f"#{figure.target}", data_filter=figure.filter)
    tone = "bad" if figure.is_bad and figure.count else "plain"
    return element("div", element("dt", figure.label), element("dd", number, class_=tone))


def _pictures(report: Report) -> Sequence[Markup]:
    lives = Counter(life(token) for token in report["tokens"])
    levels = Counter(namespace["level"] for namespace in report["namespaces"])
    long = Counter(clean(token["namespace"]) for token in report["tokens"] if life(token) in LONG)
    pictures = [
        strip(
            "Tokens by life",
            "tokens",
            "tokens",
            [
                Share(label, lives[key], TONES[key], f"life={key}")
                for key, label in LIVES.items()
                if lives[key] or key != "unknown"
            ],
        ),
        strip(
            "Namespaces by level",
            "namespaces",
            "namespaces",
            [
                Share(LEVEL_LABELS[level], levels[level], LEVEL_TONES[level], f"level={level}")
                for level in LEVELS
            ],
        ),
    ]
    if long:
        subtitle = f"{len(long):,} namespaces have some"
        if len(long) > MOST:
            subtitle += f"; the {MOST} with most"
        pictures.append(
            ranking(
                "Tokens of a year or longer",
                subtitle,
                "tokens",
                LONG_FILTER,
                dict(long.most_common(MOST)),
            )
        )
    return pictures


def _kinds(report: Report) -> Markup:
    """The findings by code, the worst first."""
    findings = report["findings"]
    if not findings:
        return Markup("")
    kinds: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for finding in findings:
        kinds.setdefault((finding["severity"], finding["code"]), []).append(finding)

    def worst(kind: tuple[str, str]) -> tuple[int, int]:
        severity = kind[0]
        rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
        return rank, -len(kinds[kind])

    rows = [
        element(
            "tr",
            element(
                "td", element("span", clean(severity), class_="tag", data_value=clean(severity))
            ),
            element(
                "td",
                element("a", clean(code), href="#findings", data_filter=f'code="{clean(code)}"'),
            ),
            element("td", f"{len(kinds[severity, code]):,}", class_="number"),
            element(
                "td",
                f"{len({one['namespace'] for one in kinds[severity, code]}):,}",
                class_="number",
            ),
            element("td", _example(kinds[severity, code][0]), class_="example"),
        )
        for severity, code in sorted(kinds, key=worst)
    ]
    header = element(
        "tr",
        *(element("th", label, scope="col") for label in ("Severity", "Finding")),
        *(element("th", label, scope="col", class_="number") for label in ("Number", "Namespaces")),
        element("th", "The first of them", scope="col", class_="example"),
    )
    return element(
        "div",
        element("h3", "Findings by kind"),
        element("table", element("thead", header), element("tbody", joined(*rows))),
        class_="kinds",
    )


def _example(finding: Mapping[str, str]) -> str:
    place = "/".join(filter(None, (finding["namespace"], finding["object"])))
    return f"{clean(place)}: {clean(finding['message'])}"
