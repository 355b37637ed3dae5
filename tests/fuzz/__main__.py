"""`make fuzz`: every target for half a minute; exit 1 with the shortest input that does what nobody
documented.
"""

import argparse
import random
import reprlib
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.targets import TARGETS, Check, Target, made

SECONDS = 30.0
MAX_CPU_SECONDS = 2.0
"""For one input: the largest ones take a tenth of it."""
SHORTENINGS = 2000
"""Tries to make a failing input shorter."""


class TooSlow(Exception):
    """An input that takes longer than a reader may."""


def failure(check: Check, given: bytes) -> Exception | None:
    """What an input does that it may not, or None."""
    begun = time.process_time()
    try:
        check(given)
    except Exception as problem:  # noqa: BLE001  (whatever it is: that is what is looked for)
        return problem
    spent = time.process_time() - begun
    return TooSlow(f"{spent:.1f} s") if spent > MAX_CPU_SECONDS else None


def shortened(check: Check, given: bytes, kind: type[Exception]) -> bytes:
    """A shorter input that fails in the same way: slices of half its length and less are left
    out.
    """
    size, tries = len(given) // 2, 0
    while size and tries < SHORTENINGS:
        for start in range(0, len(given), size):
            tries += 1
            shorter = given[:start] + given[start + size :]
            if type(failure(check, shorter)) is kind:
                given = shorter
                break
        else:
            size //= 2
    return given


def fuzz(target: Target, seed: int, seconds: float) -> bool:
    """Whether nothing was found."""
    count, deadline = 0, time.monotonic() + seconds
    with target.ready() as check:
        for given in made(target, seed):
            if time.monotonic() > deadline:
                break
            count += 1
            if (problem := failure(check, given)) is not None:
                short = shortened(check, given, type(problem))
                _tell(target, problem, short)
                return False
    print(f"{target.name}: {count} inputs, nothing that is not documented", flush=True)
    return True


def _tell(target: Target, problem: Exception, short: bytes) -> None:
    traceback.print_exception(problem)
    with tempfile.NamedTemporaryFile(prefix=f"fuzz-{target.name}-", delete=False) as file:
        file.write(short)
    print(
        f"{target.name}: {type(problem).__name__} with {len(short)} bytes in {file.name}: {_SHORT.repr(short)}"
    )


_SHORT = reprlib.Repr()
_SHORT.maxother = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10**9),
        help="the same inputs again",
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="for each target (default 30)"
    )
    parser.add_argument(
        "--target", choices=[target.name for target in TARGETS], help="only this one"
    )
    parser.add_argument("--input", metavar="FILE", type=Path, help="with --target: only this input")
    given = parser.parse_args()
    targets = [target for target in TARGETS if given.target in (None, target.name)]
    if given.input and not given.target:
        parser.error("--input needs --target")
    if given.input:
        with targets[0].ready() as check:
            check(given.input.read_bytes())
        return 0
    print(f"seed {given.seed}", flush=True)
    found = [target.name for target in targets if not fuzz(target, given.seed, given.seconds)]
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
