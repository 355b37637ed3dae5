"""`boundtoken completion`, and the hidden `boundtoken __complete` that kubectl runs with the words
of a line, zsh and fish with `--whole` and the words, bash with `--line`, the line, and what it will
replace of it.

Why no library: argcomplete does not speak kubectl's protocol, which a plugin needs anyway, and
shtab writes all words into the scripts, which then know no names of a cluster. One answer serves
four callers.

An answer never fails and never writes to standard error: who presses Tab wants to go on typing.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ...terminal import completion, quoting
from ...terminal.completion import Candidate, Line
from ...terminal.scripts import SCRIPTS
from ..cluster.kinds import KINDS

SECONDS = 3.0
"""Of a whole answer: half a second of it are imports where the API server is asked."""
MAX_SECONDS = 60
GRACE_SECONDS = 0.1
"""For a program that puts away its files when it is ended."""
LINE, WHOLE = "--line", "--whole"
LIVE = ("namespace", "context", "object", "account", "pod")


def script(parsed: argparse.Namespace) -> int:
    """Print the script of a shell."""
    sys.stdout.write(SCRIPTS[parsed.shell])
    return 0


def complete(words: Sequence[str]) -> NoReturn:
    """Print what may stand instead of the last word."""
    _be_quiet()
    before = _own_group()

    def give_up(*_: Any) -> None:
        os.write(1, completion.answer((), completion.NO_FILES).encode())
        _end_programs(before)
        os._exit(0)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, give_up)
    signal.setitimer(signal.ITIMER_REAL, _seconds())
    text = completion.answer((), completion.NO_FILES)
    with contextlib.suppress(Exception):
        text = _answer(words)
    signal.setitimer(signal.ITIMER_REAL, 0)
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
    # At once: a thread may still wait for the API server.
    os._exit(0)


def _seconds() -> float:
    given = os.environ.get("BOUNDTOKEN_COMPLETION_SECONDS", "")
    is_number = given.isascii() and given.isdigit() and 0 < int(given[:3]) <= MAX_SECONDS
    return float(given[:3]) if is_number else SECONDS


def _answer(given: Sequence[str]) -> str:
    if given[:1] == [LINE]:
        return _of_bash(*given[1:3])
    if given[:1] == [WHOLE]:
        line, found, directive = _found(given[1:])
        words = [one._replace(word=line.flag + one.word) for one in found]
        return completion.answer(words, directive, line.flag)
    line, found, directive = _found(given)
    # What stands behind "=" is a word for kubectl; `-ojson` is one with its flag.
    flag = "" if line.flag.endswith("=") else line.flag
    return completion.answer([one._replace(word=flag + one.word) for one in found], directive)


def _of_bash(text: str, replaced: str) -> str:
    """What bash inserts for `replaced`, the end of the line: without what stands before it in the
    same word, and as the quotes there need it.
    """
    typed = quoting.typed(text)
    before = quoting.typed(text.removesuffix(replaced))
    if typed.is_file:
        return completion.answer((), 0)
    line, found, directive = _found([*typed.words[1:], typed.current])
    start = len(before.current)
    words = [quoting.quoted((line.flag + one.word)[start:], before.quote) for one in found]
    return completion.answer([*map(Candidate, words)], directive, line.flag[start:])


def _found(words: Sequence[str]) -> tuple[Line, Sequence[Candidate], int]:
    from ..main import parser  # noqa: PLC0415  (it imports this command's arguments)

    line = completion.read(parser(), words)
    if line.kind in LIVE and not line.candidates:
        return line, *_live(line)
    return line, line.candidates, completion.directive(line)


def _live(line: Line) -> tuple[tuple[Candidate, ...], int]:
    prefix, current, kind = "", line.current, str(line.kind)
    if line.kind == "object":
        word, slash, name = current.partition("/")
        is_named = bool(line.given) and "/" not in line.given[0]  # TYPE NAME
        if not slash and not is_named:
            types = (Candidate(f"{one.kind.lower()}/") for one in KINDS)
            return completion.matching(types, current), completion.NO_SPACE | completion.NO_FILES
        prefix, current = (f"{word}/", name) if slash else ("", current)
        kind = word if slash else line.given[0]
    found = _contexts(line) if kind == "context" else _names(line, kind, current)
    candidates = (Candidate(prefix + name) for name in found)
    return completion.matching(candidates, line.current), completion.NO_FILES


def _contexts(line: Line) -> list[str]:
    from .contexts import contexts  # noqa: PLC0415  (only here a parser of YAML is needed)

    # A word of its own that begins with a dash would be a flag.
    return [name for name in contexts(line.flags) if line.flag or not name.startswith("-")]


def _names(line: Line, kind: str, prefix: str) -> list[str]:
    from .names import read  # noqa: PLC0415  (the API client takes long to import)

    return asyncio.run(read(line.flags, kind, prefix))


def _be_quiet() -> None:
    """Nothing is written to standard error, nor read from standard input, by us or by a plugin."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 2):
            os.dup2(nowhere, stream)


def _own_group() -> int:
    """Be a process group, which an exec plugin of a kubeconfig and what it starts belong to; gives
    the group before, in which the shell or kubectl is.
    """
    before = os.getpgrp()
    with contextlib.suppress(OSError):  # of a session of its own it is one already
        os.setpgid(0, 0)
    return before


def _end_programs(before: int) -> None:
    """End what was started and has not ended: the group is killed, after this process has left it;
    where it cannot, as the first one of a session, it is only told to end.
    """
    group = os.getpid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.setpgid(0, before)
        os.killpg(group, signal.SIGKILL)
