"""The way of a pod from the annotation to its token, as SVG: narrow, so that a phone shows it."""

import html
from typing import NamedTuple

WIDTH, BOX, GAP, LINE = 480, 400, 34, 19
"""Pixels: of all, of a box, between two boxes, of a line of text."""
STYLE = """\
text{font:14px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2328}.h{font-weight:700}.e{font-size:13px;opacity:.8}
rect{fill:#f6f8fa;stroke:#8c959f}.g{fill:#fff;stroke:none}.o{fill:#ddf4ff;stroke:#0969da}.w{fill:#fff8c5;stroke:#9a6700}path{stroke:#57606a;fill:none;stroke-width:1.5}.a{fill:#57606a;stroke:none}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#161b22;stroke:#8b949e}.g{fill:#0d1117;stroke:none}.o{fill:#0c2d6b;stroke:#58a6ff}.w{fill:#4b2900;stroke:#d29922}
path{stroke:#8b949e}.a{fill:#8b949e}}"""


class Step(NamedTuple):
    """A box: its kind (`o` is boundtoken, `w` may refuse), and what leads to it."""

    title: str
    lines: tuple[str, ...]
    kind: str = ""
    edge: str = ""


STEPS = (
    Step("A namespace is annotated", ("inject=replace, automount=disabled", "enforce=strict")),
    Step("A pod is created", ("The ServiceAccount plugin of the API server adds", "the automounted token, which lives a year"), "", "no restart; for new pods"),
    Step("boundtoken changes it", ("Namespace, pod, locks, defaults: one policy, one reason", "The token gets a lifetime and an audience"), "o", "AdmissionReview, 3 s at most"),
    Step("The API server's policies judge it", ("A pod that violates its namespace's level is refused,", "also while boundtoken is down"), "w", "JSON Patch and status"),
    Step("The kubelet requests the token", ("one TokenRequest for each token of the pod's spec", "renewed after 80 % of its lifetime"), "", "it is bound to a node"),
    Step("The program reads the file", ("/var/run/secrets/kubernetes.io/serviceaccount/token", "at each login: it changes")),
)  # fmt: skip


def flow() -> str:
    """The picture."""
    parts, y, left = [], 10, (WIDTH - BOX) // 2
    for number, step in enumerate(STEPS):
        if number:
            middle = WIDTH // 2
            parts.append(f'<path d="M{middle} {y}v{GAP - 6}"/>')
            tip = y + GAP
            parts.append(f'<path class="a" d="M{middle} {tip}l-5 -9h10z"/>')
            parts.append(_text(middle + 14, y + GAP // 2 + 3, step.edge, "e"))
            y = tip
        height = 16 + LINE * (1 + len(step.lines))
        parts.append(
            f'<rect class="{step.kind}" x="{left}" y="{y}" width="{BOX}" height="{height}" rx="8"/>'
        )
        parts.append(_text(left + 14, y + 23, step.title, "h"))
        parts += [
            _text(left + 14, y + 23 + LINE * (line + 1), text, "")
            for line, text in enumerate(step.lines)
        ]
        y += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img">'
    title = f"<title>From the annotation to the token in the pod</title><style>{STYLE}</style>"
    # Under all: a page may be dark where the system is light.
    ground = f'<rect class="g" width="{WIDTH}" height="{y + 10}" rx="8"/>'
    return "\n".join([head, title, ground, *filter(None, parts), "</svg>", ""])


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{html.escape(text)}</text>' if text else ""
