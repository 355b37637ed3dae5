"""The formats of `boundtoken scan`: what other programs read, and what no text of an object can do
to them.
"""

import csv
import io
import json
import subprocess
import tracemalloc
import xml.etree.ElementTree as ET
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.scanning import A_FINDING, A_SPACE, A_TOKEN, a_report
from tests.support.timing import cpu_time_below
from webhook.cli.explain.tree import columns
from webhook.cli.scan import arguments
from webhook.cli.scan.formats import csv_rows, junit, markdown, sarif, table
from webhook.cli.scan.formats.known import FORMATS
from webhook.cli.scan.formats.texts import MEANINGS
from webhook.scanning.comparison import since
from webhook.scanning.report import CODES, Minter, Mount, Report, Secret, Unread
from webhook.scanning.rights import EVERYTHING

NASTY = "\x1b[2J\x1b]0;owned\x07\u202e\n=cmd|' /C calc'!A0 <script>alert(1)</script> | @all WwW.e www.e [x](http://e) ]]>\x00"


def nasty() -> Report:
    """A report whose every text is NASTY."""
    mount = Mount(NASTY, NASTY, False, True)
    fields = dict.fromkeys(("namespace", "object", "owner", "service_account", "audience", "volume", "secret", "file"), NASTY)  # fmt: skip
    token = msgspec.structs.replace(A_TOKEN, **fields, mounts=(mount,))
    finding = msgspec.structs.replace(A_FINDING, namespace=NASTY, object=NASTY, message=NASTY, fix=NASTY, place=f"{NASTY}:3")  # fmt: skip
    space = msgspec.structs.replace(A_SPACE, name=NASTY, why=NASTY, faults=(NASTY,))
    return a_report(
        context=NASTY,
        namespaces=(space,),
        tokens=(token,),
        findings=(finding,),
        minters=(Minter(NASTY, NASTY, (NASTY,), NASTY),),
        unread=(Unread(NASTY, NASTY),),
    )


def a_big_one(count: int = 200) -> Report:
    """More of everything than a table of 80 columns shows."""
    tokens = tuple(msgspec.structs.replace(A_TOKEN, namespace="n" * 60 + str(n), owner=f"deployment/{'漢字' * 40}{n}") for n in range(count))  # fmt: skip
    findings = tuple(msgspec.structs.replace(A_FINDING, object=f"deployment/{'x' * 90}{n}", fix="") for n in range(count))  # fmt: skip
    spaces = tuple(msgspec.structs.replace(A_SPACE, name="n" * 60 + str(n)) for n in range(count))
    return a_report(tokens=tokens, findings=findings, namespaces=spaces)


@pytest.mark.parametrize("name", ["table", "wide"])
def test_where_nothing_could_be_read_no_numbers_come_first(name: str) -> None:
    nothing: dict[str, Any] = {"namespaces": (), "tokens": (), "findings": (), "minters": ()}
    unread = (Unread("pods", "needs list on pods"),)
    text = FORMATS[name](a_report(**nothing, unread=unread))
    assert text.splitlines()[1] == "nothing could be read: what was not seen, and why, is below"
    assert "0 tokens" not in text
    assert "pods: needs list on pods" in text
    assert "0 tokens, 0 pods, 0 namespaces" in FORMATS[name](a_report(**nothing, unread=()))


def test_the_parser_knows_every_format() -> None:
    assert tuple(FORMATS) == arguments.FORMATS
    assert set(MEANINGS) == set(CODES)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_of_an_object_steers_a_terminal(name: str) -> None:
    for report in (nasty(), since(a_report(), nasty()), since(nasty(), a_report())):
        text = FORMATS[name](report)
        assert not [char for char in text if not char.isprintable() and char not in "\r\n"]
        assert "\x1b" not in text


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_an_empty_report(name: str) -> None:
    empty = Report(time="2026-11-29T10:00:00Z")
    assert FORMATS[name](empty).strip()
    assert FORMATS[name](since(empty, empty)).strip()


def test_json_and_yaml_are_the_report() -> None:
    found = json.loads(FORMATS["json"](a_report()))
    assert found == yaml.safe_load(FORMATS["yaml"](a_report()))
    assert msgspec.convert(found, Report) == a_report()
    assert "since" not in found
    assert (found["kind"], found["version"], found["complete"]) == ("Scan", 1, True)
    assert found["tokens"][0]["mounts"] == [
        {"container": "app", "path": A_TOKEN.mounts[0].path, "readOnly": True, "subPath": False}
    ]
    later = since(a_report(), a_report(tokens=()))
    assert msgspec.convert(json.loads(FORMATS["json"](later)), Report) == later


YAML_TEXTS = [
    *("", "yes", "No", "null", "~", "1", "1e3", "0x1f", "1_000", "12:30:45", "2026-11-29", ".inf"),
    *(
        "a b",
        "a: b",
        "a #b",
        "- a",
        "[a]",
        "{a}",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        '"',
        "\\",
    ),
    *("deployment/cart", "a\nb", "\x7f", "\x85", "\u2028", "漢字", "\U0001f600", "=", "<<", "a:"),
]


@pytest.mark.parametrize("text", YAML_TEXTS)
def test_yaml_has_each_text_as_it_is(text: str) -> None:
    token = msgspec.structs.replace(A_TOKEN, audience=text, mounts=(Mount(text, text), Mount("a", "b")))  # fmt: skip
    report = a_report(tokens=(token, token), minters=(Minter("*", text, (text, "x"), text),))
    for one in (report, since(report, a_report())):
        made = FORMATS["yaml"](one)
        assert yaml.safe_load(made) == json.loads(FORMATS["json"](one))
        assert made.isascii()
        assert FORMATS["json"](one).isascii()


def test_no_format_takes_long_or_much_memory() -> None:
    """10,000 pods: 4 s of CPU and 230 MB were once YAML's."""
    tokens = tuple(msgspec.structs.replace(A_TOKEN, object=f"pod/web-{n}", owner=f"deployment/web-{n // 50}") for n in range(2_000))  # fmt: skip
    report = a_report(tokens=tokens)
    for name, render in FORMATS.items():
        with cpu_time_below(2):
            tracemalloc.start()
            render(report)
            peak = tracemalloc.get_traced_memory()[1] / (1 << 20)
            tracemalloc.stop()
        assert peak < 30, (name, peak)


def test_csv_has_a_line_for_each_token_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_rows.render(a_report()))))
    assert [(row["object"], row["lifetimeSeconds"], row["rotated"]) for row in rows] == [("pod/cart-1", "31536000", "true")]  # fmt: skip
    for begin in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "'x", "＝1"):  # noqa: RUF001
        token = msgspec.structs.replace(A_TOKEN, audience=begin, owner=begin)
        (row,) = csv.DictReader(io.StringIO(csv_rows.render(a_report(tokens=(token,)))))
        assert row["audience"].startswith("'")
        assert row["owner"].startswith("'")
    (row,) = csv.DictReader(io.StringIO(csv_rows.render(nasty())))
    assert row["audience"].startswith("\\x1b")


def test_csv_tells_what_is_new_and_what_is_gone() -> None:
    other = msgspec.structs.replace(A_TOKEN, audience="vault")
    text = csv_rows.render(since(a_report(), a_report(tokens=(other,))))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["change"], row["audience"]) for row in rows] == [("new", "vault"), ("gone", "")]


def checked_sarif(text: str) -> Any:
    """The run, of which the schema of SARIF 2.1.0 requires this."""
    found = json.loads(text)
    assert found["version"] == "2.1.0"
    (run,) = found["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "boundtoken"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert result.get("baselineState", "new") in ("new", "unchanged", "updated", "absent")
        (location,) = result["locations"]
        assert location["logicalLocations"][0]["fullyQualifiedName"]
        if (physical := location.get("physicalLocation")) is not None:
            assert physical["region"]["startLine"] >= 1
            assert not set(physical["artifactLocation"]["uri"]) & set(" <>\x1b\n")
    for invocation in run["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)
        for notification in invocation["toolExecutionNotifications"]:
            assert notification["message"]["text"]
    return run


def test_sarif_has_a_result_for_each_finding_with_its_place() -> None:
    run = checked_sarif(sarif.render(a_report()))
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]) == ("cart.yaml", {"startLine": 3})
    assert "baselineState" not in result
    bare = msgspec.structs.replace(A_FINDING, place="")
    run = checked_sarif(sarif.render(a_report(findings=(bare,), complete=False)))
    assert "physicalLocation" not in run["results"][0]["locations"][0]
    assert run["invocations"][0]["executionSuccessful"] is False
    checked_sarif(sarif.render(nasty()))


def test_sarif_of_a_comparison_has_the_states_of_a_baseline() -> None:
    other = msgspec.structs.replace(A_FINDING, object="deployment/other")
    run = checked_sarif(sarif.render(since(a_report(), a_report(findings=(other,)))))
    assert [one["baselineState"] for one in run["results"]] == ["new", "absent"]


def test_junit_has_a_suite_for_each_code_and_counts_that_are_right() -> None:
    note = msgspec.structs.replace(A_FINDING, code="automount", severity="note")
    root = ET.fromstring(junit.render(a_report(findings=(A_FINDING, note), complete=False)))
    assert [suite.get("name") for suite in root] == [*CODES, "scan"]
    for suite in root:
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == str(len(suite.findall("testcase/error")))
    for counted, path in (("tests", "*/testcase"), ("failures", "*/*/failure"), ("errors", "*/*/error")):  # fmt: skip
        assert root.get(counted) == str(len(root.findall(path)))
    (failure,) = root.findall("*/*/failure")
    assert failure.get("message") == "a year"
    assert failure.text == "a year\nkubectl x"
    assert root.findtext("*/*/system-out") == "a year\nkubectl x"


def test_junit_is_xml_whatever_is_in_it() -> None:
    root = ET.fromstring(junit.render(nasty()))
    (failure,) = root.findall("*/*/failure")
    assert "<script>" in str(failure.get("message"))


def test_markdown_has_no_markup_of_an_object() -> None:
    text = markdown.render(nasty())
    for part in ("<script", "@all", "[x]", "](", " | @", "http:", "www."):
        assert part not in text.lower(), part
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (3, 4, 5, 6, 7, 8), line
    assert "shop" in markdown.render(a_report())


def test_markdown_has_tokens_secrets_and_rights_and_says_how_many_more() -> None:
    minters = [Minter("shop", f"User x{n}", ("create pods",), "RoleBinding shop/x") for n in range(60)]  # fmt: skip
    minters += [Minter("*", "Group system:masters", EVERYTHING, "ClusterRoleBinding cluster-admin")]
    secret = Secret("shop", "old", "cart", "2026-01-31", ("deployment/cart",))
    report = a_report(tokens=(A_TOKEN, A_TOKEN), secrets=(secret,), minters=tuple(minters))
    text = markdown.render(report)
    assert "### Tokens (1)" in text
    assert "| shop | deployment/cart | automounted | 1 year | none | 2 |" in text
    assert "| shop | old | cart | 2026-01-31 | deployment/cart |" in text
    assert "### Rights to get tokens of others, 1 of Kubernetes itself aside (60)" in text
    assert "| shop | User x0 | create pods | RoleBinding shop/x |" in text
    assert "And 10 more." in text
    assert "system" not in text
    assert "gone: Tokens (1)" in markdown.render(since(report, a_report(tokens=())))


@pytest.mark.parametrize("report", [a_report(), nasty(), a_big_one(), since(a_report(), a_big_one())])  # fmt: skip
def test_a_table_has_eighty_columns_and_few_lines(report: Report) -> None:
    plain = msgspec.structs.replace(report, findings=tuple(msgspec.structs.replace(one, fix="") for one in report.findings))  # fmt: skip
    lines = table.render(plain).splitlines()
    assert max(map(columns, lines)) <= 80
    assert len(lines) < 100


def test_a_table_says_how_much_more_there_is_and_wide_has_it() -> None:
    text, wide = table.render(a_big_one()), table.render_wide(a_big_one())
    assert "and 180 more: -o wide" in text
    assert "and 195 more: -o wide" in text
    assert "more: -o wide" not in wide
    assert wide.count("deployment/" + "漢字" * 40) == 200


COMMANDS = [
    "kubectl rollout restart deployment/" + "x" * 200,
    "kubectl annotate --overwrite namespace shop boundtoken.dev/inject=replace boundtoken.dev/automount=disabled",
    "kubectl patch serviceaccount/a-long-name-of-an-account -n shop -p '{\"automountServiceAccountToken\": false}'",
    "kubectl rollout resume deployment/web -n shop && kubectl rollout restart deployment/web -n shop",
    "kubectl delete pod/web -n shop",
]  # fmt: skip


def words_of(command: str) -> str:
    """What a shell makes of it, a word on each line."""
    script = f"kubectl() {{ printf '%s\\n' \"$@\"; }}\n{command}\n"
    found = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    return found.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_told_whole_and_a_shell_reads_the_same(command: str) -> None:
    report = a_report(findings=(msgspec.structs.replace(A_FINDING, fix=command),))
    lines = table.render(report).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("    kubectl"))
    told = [lines[first]]
    while told[-1].endswith("\\"):
        told.append(lines[first + len(told)])
    assert words_of("\n".join(told)) == words_of(command)
    longest = max(map(len, command.split()))
    assert max(map(columns, told)) <= max(80, longest + 8)
    assert f"\n    {command}\n" in table.render_wide(report)


@pytest.mark.parametrize("text", ["x" * 200_000, "\u0301" * 200_000, "\n" * 200_000])
def test_a_text_without_an_end_is_cut_for_a_terminal_and_whole_in_json(text: str) -> None:
    fields = dict.fromkeys(("namespace", "object", "owner", "service_account", "audience", "volume", "secret", "lifetime"), text)  # fmt: skip
    token = msgspec.structs.replace(A_TOKEN, **fields, mounts=(Mount(text, text),) * 3)
    finding = msgspec.structs.replace(A_FINDING, namespace=text, object=text, message=text, fix=text)  # fmt: skip
    report = a_report(
        context=text,
        namespaces=(msgspec.structs.replace(A_SPACE, name=text, inject=text),),
        tokens=(token, A_TOKEN, A_TOKEN),
        findings=(finding,),
        minters=(Minter(text, text, (text,), text),),
        unread=(Unread(text, text),),
    )
    assert len(table.render(report)) < 100_000
    assert len(table.render_wide(report)) < 2_000_000
    assert msgspec.convert(json.loads(FORMATS["json"](report)), Report) == report


def test_what_is_of_kubernetes_is_counted_and_the_rest_told() -> None:
    minters = (
        Minter("*", "Group system:masters", ("create pods",), "ClusterRoleBinding cluster-admin"),
        Minter("shop", "User x", ("create pods",), "RoleBinding shop/x"),
    )
    text = table.render(a_report(minters=minters))
    assert "shop: User x: create pods (RoleBinding shop/x)" in text
    assert "and 1 of Kubernetes itself" in text
    assert "system:masters" not in text
    assert "system:masters" in table.render_wide(a_report(minters=minters))


def test_a_table_of_a_comparison_has_what_is_new_and_gone() -> None:
    other = msgspec.structs.replace(A_TOKEN, owner="deployment/other")
    text = table.render(since(a_report(), a_report(tokens=(other,), findings=())))
    assert "what is new or gone since 2026-11-29T10:00:00Z" in text
    new, gone = text.partition("tokens that are gone")[::2]
    assert "deployment/other" in new
    assert "deployment/cart" not in new
    assert "deployment/cart" in gone
    assert "gone: year-long (1)" in gone


def test_sarif_takes_no_link_and_no_placeholder_from_an_object() -> None:
    report = a_report()
    odd = msgspec.structs.replace(report.findings[0], message="[x](http://evil.example) {0} \\")
    made = json.loads(FORMATS["sarif"](msgspec.structs.replace(report, findings=(odd,))))
    text = made["runs"][0]["results"][0]["message"]["text"]
    assert r"\[x\](http://evil.example) {{0}} \\" in text
