"""A pod with thousands of tokens and mounts: what is told is bounded, what is judged is not."""

import tracemalloc

import msgspec
import pytest

from tests.scanning.objects import a_workload, codes, living, scanned
from tests.support.builders import Json, a_container, a_pod, api_access, automounted
from tests.support.scanning import A_TOKEN, a_report
from tests.support.timing import cpu_time_below
from webhook.cli.scan.formats import csv_rows, markdown, table
from webhook.core.full_views import FullPod
from webhook.core.levels import LATEST, LevelVersion
from webhook.core.limits import Limits
from webhook.enforcement import rules
from webhook.enforcement.facts import Facts
from webhook.scanning import comparison
from webhook.scanning.mounts import MAX_MOUNTS
from webhook.scanning.report import LeftOut
from webhook.scanning.told import MAX_TOKENS
from webhook.simulation import living as comparing
from webhook.simulation.mounts import Shown


def token(path: str, **given: object) -> Json:
    return {"serviceAccountToken": {"path": path, **given}}


def a_large_pod(sources: list[Json], mounts: list[Json]) -> Json:
    container = a_container("app")
    container["volumeMounts"] = [{"name": "own", "readOnly": True, **one} for one in mounts]
    return a_pod(container, volumes=[{"name": "own", "projected": {"sources": sources}}])


def at(count: int) -> list[Json]:
    return [{"mountPath": f"/m{number}"} for number in range(count)]


def test_memory_does_not_grow_with_tokens_times_mounts() -> None:
    pod = living(a_large_pod([token(f"t{n}", audience=f"a{n}") for n in range(1000)], at(1000)))
    tracemalloc.start()
    report = scanned(pod)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20
    assert len(msgspec.json.encode(report)) < 1 << 20


def test_neither_volumes_nor_sources_are_looked_through_for_each_token() -> None:
    count = 4000
    container = a_container("app")
    names = [f"v{n}" for n in range(count)]
    mounts = [{"name": name, "mountPath": f"/{name}/{n}"} for name in names for n in range(3)]
    container["volumeMounts"] = mounts
    volumes = [{"name": name, "projected": {"sources": [token("t")]}} for name in names]
    sources = api_access()["projected"]["sources"]
    sources += [token(f"t{n}", audience=f"a{n}") for n in range(count)]
    sources += [{"secret": {"name": f"s{n}"}} for n in range(count)]
    volumes.append({**api_access(), "projected": {"sources": sources}})
    pod = living(a_pod(container, volumes=volumes))
    with cpu_time_below(6):
        report = scanned(pod)
    assert report.namespaces[0].tokens == 2 * count + 1


def test_the_worst_of_each_source_are_told_and_all_are_counted() -> None:
    sources = [token(f"t{n}", expirationSeconds=600 + n) for n in range(300)]
    pod = a_large_pod([*sources, token("year", expirationSeconds=3607)], at(1))
    secret = {"name": "old", "secret": {"secretName": "old"}}
    pod["spec"]["volumes"].append(secret)
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "old", "mountPath": "/old"})
    report = scanned(living(pod, owner="cart"), secrets=("old",))
    assert len(report.tokens) == MAX_TOKENS
    assert report.left_out == (LeftOut("shop", "pod/web", "deployment/cart", 302 - MAX_TOKENS),)
    assert [one.lifetime for one in report.tokens[:3]] == ["1 year", "never", "14 min 59 s"]
    assert min(one.lifetime_seconds or 899 for one in report.tokens) > 600 + 300 - MAX_TOKENS
    (space,) = report.namespaces
    assert (space.tokens, space.year_long, space.level) == (302, 1, "none")


def test_who_has_many_tokens_hides_no_finding() -> None:
    years = [token(f"y{n}", expirationSeconds=3607) for n in range(300)]
    writable = [*at(300), {"mountPath": "/writable", "readOnly": False}]
    report = scanned(living(a_large_pod([*years, token("last")], writable)))
    assert report.namespaces[0].year_long == 300
    assert codes(report) == ["year-long", "strict"]
    assert "token must be mounted read-only" in next(
        one.message for one in report.findings if one.code == "strict"
    )


def test_tokens_that_live_a_year_hide_none_that_never_expires() -> None:
    pod = a_large_pod([token(f"y{n}", expirationSeconds=3607) for n in range(300)], at(1))
    pod["spec"]["volumes"].append({"name": "old", "secret": {"secretName": "old"}})
    rows = scanned(living(pod), secrets=("old",)).tokens
    assert [row.secret for row in rows if row.source == "legacy-secret"] == ["old"]
    assert len(rows) == MAX_TOKENS


def test_mounts_that_keep_a_token_from_strict_are_told_first() -> None:
    bad: list[Json] = [{"mountPath": "/w", "readOnly": False}, {"mountPath": "/s", "subPath": "t"}]
    (row,) = scanned(living(a_large_pod([token("t")], [*at(300), *bad]))).tokens
    assert (len(row.mounts), row.more_mounts) == (MAX_MOUNTS, 302 - MAX_MOUNTS)
    assert [mount.path for mount in row.mounts[:3]] == ["/w", "/s", "/m0"]
    assert (row.rotated, row.level) == (False, "bound")


@pytest.mark.parametrize("seconds", [600, 3600, 3607, 7200, 90_000])
@pytest.mark.parametrize("audience", ["", "vault"])
@pytest.mark.parametrize("path", ["token", "other"])
@pytest.mark.parametrize("mount", [{}, {"readOnly": False}, {"subPath": "t"}])
@pytest.mark.parametrize("name", ["own", "kube-api-access-abcde"])
def test_a_level_is_that_of_the_pod_with_this_token_alone(
    seconds: int, audience: str, path: str, mount: Json, name: str
) -> None:
    pod = a_large_pod(
        [token(path, expirationSeconds=seconds, audience=audience)], [{"mountPath": "/m", **mount}]
    )
    (volume,) = pod["spec"]["volumes"]
    volume["name"] = pod["spec"]["containers"][0]["volumeMounts"][0]["name"] = name
    volume["projected"]["sources"] += api_access()["projected"]["sources"][1:]
    facts = Facts(msgspec.convert(pod, FullPod))
    expected = "none"
    for level in ("bound", "strict"):
        maximum = {"bound": 86_400, "strict": 3600}[level]
        if not rules.evaluate(facts, LevelVersion(level, LATEST), Limits(maximum=maximum)):
            expected = level
    assert [one.level for one in scanned(living(pod)).tokens] == [expected]


def test_many_tokens_tell_fewer_mounts_each() -> None:
    pod = a_large_pod(
        [token(f"t{n}") for n in range(200)], [*at(300), {"mountPath": "/w", "readOnly": False}]
    )
    rows = scanned(living(pod)).tokens
    assert {(len(row.mounts), row.more_mounts) for row in rows} == {(20, 281)}
    assert {row.mounts[0].path for row in rows} == {"/w"}


def test_a_template_with_many_mounts_is_told_by_its_pods() -> None:
    pod = a_large_pod([token(f"t{n}") for n in range(200)], at(200))
    workload = a_workload()
    workload["spec"]["template"]["spec"] = {
        **pod["spec"],
        "containers": [*pod["spec"]["containers"]],
    }
    sidecar = {**pod["spec"]["containers"][0], "name": "mesh"}
    pod["spec"]["containers"].insert(0, sidecar)
    report = scanned(living(automounted(pod), owner="cart"), workloads=(workload,))
    assert {one.object for one in report.tokens} == {"pod/web"}


def test_a_token_that_may_have_been_left_out_is_not_new() -> None:
    left_out = (LeftOut("shop", "pod/cart-1", "deployment/cart", 7),)
    before = a_report(tokens=(), left_out=left_out)
    found = comparison.since(before, a_report())
    assert found.tokens == ()
    assert found.since is not None
    (row,) = found.since.not_comparable
    assert (row.what, row.why) == ("tokens", "its object had more tokens than are told then")
    assert comparison.since(a_report(tokens=()), a_report()).tokens == (A_TOKEN,)


def test_every_format_says_what_is_left_out() -> None:
    one = msgspec.structs.replace(A_TOKEN, more_mounts=1950)
    report = a_report(tokens=(one,), left_out=(LeftOut("shop", "pod/cart-1", "", 4950),))
    text = table.render(report)
    assert "4,951 tokens" in text
    assert "and 4,950 more tokens of 1 object with more than 100" in text
    assert "4,950 more tokens" in markdown.render(report)
    assert " and 1,950 more" in csv_rows.render(report)
    assert " and 1,950 more" in table.render_wide(report)


def test_the_tokens_of_a_volume_share_their_mounts() -> None:
    parts = [{"mountPath": f"/p{n}", "subPath": "a"} for n in range(3)]
    pod = a_large_pod([token("a/1"), token("a/2"), token("b")], [*at(3), *parts])
    first, second, third = comparing.tokens_of(msgspec.convert(pod, FullPod)).tokens
    assert first.mounts is second.mounts is third.mounts
    assert first.frozen is second.frozen
    assert first.frozen == tuple(("app", f"/p{n}") for n in range(3))
    assert third.frozen == ()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("token", "whole any token"),
        ("a/token", "whole any folder file"),
        ("a/other", "whole any folder"),
        ("ab/token", "whole any"),
        ("a", "whole any folder"),
    ],
)
def test_what_shows_a_file(file: str, expected: str) -> None:
    parts = [
        ("", "whole"),
        ("$(NAME)", "any"),
        ("./a//", "folder"),
        ("a/token", "file"),
        ("token", "token"),
    ]
    assert " ".join(Shown(parts).of(file)) == expected
