"""A command line of bash that is being typed: its words without their quotes, and a word with the
quotes that it needs to stand in the line.

Source: POSIX.1-2017, Shell Command Language, 2.2 Quoting; bash(1), QUOTING and PROGRAMMABLE
COMPLETION. What bash would expand (`$x`, `~`, a command) is left as it is typed.
"""

import re
from typing import Literal, NamedTuple

Quote = Literal["", "'", '"', "$'"]
"""The quote that is open; empty where none is."""
_PLAIN = re.compile(r"[^\w@%+=:,./-]")
"""What bash may read as something else than itself, outside of quotes."""
_ESCAPED: dict[Quote, tuple[re.Pattern[str], str]] = {
    "": (_PLAIN, r"\\\g<0>"),
    "'": (re.compile("'"), r"'\\''"),
    '"': (re.compile(r'["\\$`]'), r"\\\g<0>"),
    "$'": (re.compile(r"['\\]"), r"\\\g<0>"),
}
_IN_DOUBLE = '"\\$`\n'
"""What a backslash quotes there; before anything else it is itself."""
_BLANKS, _OPERATORS = " \t\n", "<>|&;"


class Typed(NamedTuple):
    """The words of a line, of which `current` may be empty; `quote` is open at its end.
    `is_file` where it is the target of a redirection.
    """

    words: tuple[str, ...]
    current: str
    quote: Quote
    is_file: bool = False


class _Reader:
    """Reads a line from its beginning."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.word: str | None = None
        """None between two words; an empty word has quotes."""
        self.quote: Quote = ""
        self.is_escaped = False
        self.is_file = False

    def take(self, char: str) -> None:
        """Go on behind a character."""
        if self.is_escaped:
            self._take_escaped(char)
        elif self.quote == "":
            self._take_plain(char)
        elif char == self.quote[-1]:
            self.quote = ""
        elif char == "\\" and self.quote != "'":
            self.is_escaped = True
        else:
            self._add(char)

    def _take_escaped(self, char: str) -> None:
        self.is_escaped = False
        is_kept = self.quote == '"' and char not in _IN_DOUBLE
        if char != "\n":  # a line that goes on
            self._add(f"\\{char}" if is_kept else char)

    def _take_plain(self, char: str) -> None:
        if char == "\\":
            self.is_escaped = True
        elif char in "'\"":
            self.quote = "'" if char == "'" else '"'
            if char == "'" and self.word is not None and self.word.endswith("$"):
                self.quote, self.word = "$'", self.word[:-1]
            self._add("")
        elif char in _BLANKS:
            self._end()
        elif char in _OPERATORS:
            self._take_operator(char)
        else:
            self._add(char)

    def _take_operator(self, char: str) -> None:
        """What follows `>` is a file, no word of the command; the number before it, none either."""
        if self.word is not None and self.word.isdigit():
            self.word = None
        self._end()
        self.is_file = char in "<>"

    def _add(self, text: str) -> None:
        self.word = (self.word or "") + text

    def _end(self) -> None:
        if self.word is not None:
            if not self.is_file:
                self.words.append(self.word)
            self.word, self.is_file = None, False


def typed(line: str) -> Typed:
    """What is typed so far."""
    reader = _Reader()
    for char in line:
        reader.take(char)
    return Typed(tuple(reader.words), reader.word or "", reader.quote, reader.is_file)


def quoted(text: str, quote: Quote) -> str:
    """How a text is typed where this quote is open, which it leaves open."""
    pattern, replacement = _ESCAPED[quote]
    found = pattern.sub(replacement, text)
    # No backslash keeps an interactive bash from reading it as its history.
    return found.replace("!", '"\\!"') if quote == '"' else found
