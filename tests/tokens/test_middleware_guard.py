"""Who may enter: patterns of accounts, open paths, and every form of an Authorization header."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.callers import AUDIENCE, Memory
from tests.support.timing import cpu_time_below
from webhook.tokens import Identity, InvalidToken, NotVerified
from webhook.tokens.errors import REASONS, InvalidReason
from webhook.tokens.guard import Denial, Guard

PARAMETER = re.compile(r'([a-z_]+)="([\x20-\x21\x23-\x5b\x5d-\x7e]*)"')
"""Of a challenge: RFC 6750 section 3 allows no other characters."""


@pytest.fixture
def memory() -> Memory:
    return Memory()


def a_guard(memory: Memory, accounts: Any = ("shop/*", "*/builder"), **options: Any) -> Guard:
    return Guard(memory, audience=AUDIENCE, accounts=accounts, **options)


def an_identity(name: str) -> Identity:
    namespace, _, account = name.partition("/")
    return Identity(namespace=namespace, account=account, uid="u", audiences=(), expires_at=0.0)


def allows(pattern: str, name: str) -> bool:
    return a_guard(Memory(), pattern).allows(an_identity(name))


def challenge(denial: Denial) -> dict[str, str]:
    """The parameters of a challenge, each of which is well-formed."""
    scheme, _, rest = denial.headers["WWW-Authenticate"].partition(" ")
    assert scheme == "Bearer"
    parts = rest.split(", ")
    matches = [PARAMETER.fullmatch(part) for part in parts]
    assert all(matches), parts
    return {match[1]: match[2] for match in matches if match}


async def refused(memory: Memory, *fields: str) -> Denial:
    denial = await a_guard(memory).identify(fields)
    assert isinstance(denial, Denial)
    assert set(json.loads(denial.body)) == {"error", "error_description"}
    assert denial.headers["Content-Type"] == "application/json"
    return denial


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("shop/cart", "shop/cart", True),
        ("shop/cart", "shop/cart2", False),
        ("shop/cart", "shop2/cart", False),
        ("shop/*", "shop/cart", True),
        ("shop/*", "shop2/cart", False),
        ("*/builder", "ci/builder", True),
        ("*/builder", "ci/builder2", False),
        ("*/*", "a/b", True),
        ("team-*/web-*-v2", "team-a/web-x-v2", True),
        ("team-*/web-*-v2", "team-/web--v2", True),
        ("team-*/web-*-v2", "team-a/web-v2", False),
        ("*a*b*/x", "zazbz/x", True),
        ("*a*b*/x", "zbzaz/x", False),
        ("ab*ba/x", "aba/x", False),
        ("ab*ba/x", "abba/x", True),
        ("a*b*b/x", "ab/x", False),
        ("a*b*b/x", "abb/x", True),
        ("a.b/c", "axb/c", False),
        ("shop/c*t", "shop/cart", True),
    ],
)
def test_a_star_is_anything_within_one_part(pattern: str, name: str, allowed: bool) -> None:
    assert allows(pattern, name) is allowed


NAMES = st.text(alphabet="ab-", min_size=1, max_size=8).filter(
    lambda name: name[0] != "-" and name[-1] != "-"
)


@given(st.text(alphabet="ab*", min_size=1, max_size=8).filter(lambda text: "**" not in text), NAMES)
def test_it_is_what_a_regular_expression_would_say(pattern: str, name: str) -> None:
    expression = "[a-z-]*".join(map(re.escape, pattern.split("*")))
    assert allows(f"{pattern}/x", f"{name}/x") is bool(re.fullmatch(expression, name))


def test_no_pattern_is_slow() -> None:
    guard = a_guard(Memory(), ["*a" * 126 + "*/*"] * 100)
    with cpu_time_below(0.2):
        assert not guard.allows(an_identity(f"x/{'a' * 253}"))
        assert not guard.allows(an_identity(f"{'a' * 63}/x"))


BAD_PATTERNS: list[Any] = [
    *(
        "",
        "shop",
        "shop/",
        "/cart",
        "a/b/c",
        "Shop/cart",
        "shop/**",
        "**/x",
        "shop/c?rt",
        "shop/[a]",
    ),
    *(
        "shop/.*",
        "^shop/cart$",
        "shop/cart\n",
        " shop/cart",
        "shop\\/cart",
        "-shop/cart",
        "shop/c-",
    ),
    *("system:serviceaccount:shop:cart", None, 7, b"shop/cart"),
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_a_bad_pattern_is_named_with_its_place(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"accounts\[1\]: .* must be namespace/account") as refused:
        a_guard(Memory(), ["shop/cart", pattern])
    assert repr(pattern) in str(refused.value)


@pytest.mark.parametrize("accounts", [[], (), ["a/b"] * 1001])
def test_nobody_and_too_many_are_mistakes(accounts: Any) -> None:
    with pytest.raises(ValueError, match=r"accounts: \d+ patterns must be 1 to 1000; \*/\* is"):
        a_guard(Memory(), accounts)


def test_one_pattern_may_be_a_text_and_many_any_iterable() -> None:
    assert allows("shop/cart", "shop/cart")
    assert a_guard(Memory(), iter(["a/b", "c/d"])).allows(an_identity("c/d"))


@pytest.mark.parametrize("audience", ["", None, [AUDIENCE]])
def test_an_audience_is_needed(audience: Any) -> None:
    with pytest.raises(ValueError, match="audience: .* must be a text"):
        Guard(Memory(), audience=audience, accounts="*/*")


@pytest.mark.parametrize("path", ["", "healthz", "/a b", "/a?b", "/a%20b", "/\u00e9", "/*", None])
def test_a_bad_path_is_named_with_its_place(path: Any) -> None:
    with pytest.raises(ValueError, match=r"open_paths\[0\]: .* must be a path such as /healthz"):
        a_guard(Memory(), open_paths=[path])
    with pytest.raises(ValueError, match="open_paths: 101 must be at most 100"):
        a_guard(Memory(), open_paths=["/x"] * 101)


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/healthz", True),
        ("/healthz/", False),
        ("/healthz/x", False),
        ("//healthz", False),
        ("/x/../healthz", False),
        ("/Healthz", False),
        ("/%68ealthz", False),
        ("/healthz?x", False),
        ("/healthz;x", False),
        ("", False),
    ],
)
def test_an_open_path_is_exact(path: str, is_open: bool) -> None:
    assert a_guard(Memory(), open_paths="/healthz").is_open(path) is is_open


@pytest.mark.parametrize(
    "field",
    [
        "Bearer cart-token",
        "bearer cart-token",
        "BEARER cart-token",
        "Bearer   cart-token",
        " Bearer cart-token ",
        "\tBearer cart-token\t",
    ],
)
async def test_a_bearer_token_gets_in(memory: Memory, field: str) -> None:
    identity = await a_guard(memory).identify([field])
    assert str(identity) == "shop/cart"
    assert memory.judged == [("cart-token", AUDIENCE)]


@pytest.mark.parametrize(
    "fields",
    [[], [""], ["Basic dXNlcjpzZWNyZXQ="], ["Negotiate x"], ["Bearerx y"], ["cart-token"], [" "]],
)
async def test_without_a_bearer_token_it_is_told_the_scheme_and_no_error(
    memory: Memory, fields: list[str]
) -> None:
    denial = await refused(memory, *fields)
    assert denial.status == 401
    assert challenge(denial) == {"realm": "kubernetes"}
    assert memory.judged == []


@pytest.mark.parametrize(
    "field",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer a, Bearer b",
        'Bearer token="a"',
        "Bearer \u00e9",
        "Bearer \udce9",
        "Bearer a\x00b",
        "Bearer a\r\nX: y",
        "Bearer a\tb",
        "Bearer =",
        "Bearer a=b",
    ],
)
async def test_a_header_that_is_no_bearer_token_is_a_bad_request(
    memory: Memory, field: str
) -> None:
    denial = await refused(memory, field)
    assert denial.status == 400
    assert challenge(denial)["error"] == "invalid_request"
    assert memory.judged == []


@pytest.mark.parametrize("second", ["Bearer cart-token", "Basic x", ""])
async def test_several_headers_are_a_bad_request(memory: Memory, second: str) -> None:
    for fields in (["Bearer cart-token", second], [second, "Bearer cart-token"]):
        denial = await refused(memory, *fields)
        assert (denial.status, challenge(denial)["error"]) == (400, "invalid_request")
    assert memory.judged == []


async def test_a_header_that_is_too_large_is_not_looked_at(memory: Memory) -> None:
    denial = await refused(memory, "Bearer " + "A" * 20_000)
    assert denial.status == 431
    assert "WWW-Authenticate" not in denial.headers
    assert memory.judged == []
    assert (await refused(memory, "Basic " + "A" * 20_000)).status == 401


@pytest.mark.parametrize("reason", REASONS)
async def test_a_refused_token_is_told_why(memory: Memory, reason: InvalidReason) -> None:
    memory.problem = InvalidToken(reason)
    denial = await refused(memory, "Bearer x-secret-x")
    parameters = challenge(denial)
    assert denial.status == 401
    assert parameters["error"] == "invalid_token"
    assert parameters["error_description"].startswith(f"{reason}: ")
    assert "x-secret-x" not in str(denial.headers) + str(denial.body)


async def test_an_account_that_is_not_allowed_is_known_and_refused(memory: Memory) -> None:
    denial = await refused(memory, "Bearer stranger-token")
    assert denial.status == 403
    assert challenge(denial)["error"] == "insufficient_scope"
    assert "x/stranger" not in str(denial.headers)


@pytest.mark.parametrize(
    ("after", "header"), [(0.0, "1"), (1.0, "1"), (1.2, "2"), (7.9, "8"), (1e9, "60"), (-5.0, "1")]
)
async def test_where_nobody_can_tell_it_says_when_to_come_again(
    memory: Memory, after: float, header: str
) -> None:
    memory.problem = NotVerified("the API server at 10.0.0.1 is away", after)
    denial = await refused(memory, "Bearer cart-token")
    assert (denial.status, denial.headers["Retry-After"]) == (503, header)
    assert "WWW-Authenticate" not in denial.headers
    assert b"10.0.0.1" not in denial.body


async def test_an_unexpected_problem_lets_nobody_in(memory: Memory) -> None:
    memory.problem = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await a_guard(memory).identify(["Bearer cart-token"])


@given(st.lists(st.text(), max_size=3))
async def test_no_header_ends_anything(fields: list[str]) -> None:
    found = await a_guard(Memory()).identify(fields)
    assert isinstance(found, Denial)
    assert found.status in (400, 401)
