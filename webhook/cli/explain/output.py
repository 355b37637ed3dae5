"""The report as a tree for people."""

import json
from collections.abc import Iterator

from ...core import names
from ...core.decision import MEANINGS
from ...core.text import displayed
from ...simulation.layers import displayed as value_shown
from . import tree
from .refusals import times
from .report import Report
from .tree import Mood, Node

FROM_WORKLOAD = (" on the workload: ", " on the pod: ")
MAX_PODS = 10
"""Of those that are alike, by name; the JSON has all."""
OWN_AUDIENCE = "the API server's own"
CALLED = {True: "called", False: "not called", None: "not known whether it is called"}


def print_tree(result: Report) -> None:
    """Print the report of all objects."""
    roots = [_object(one) for one in result["objects"]]
    about = [
        *map(Node, result["notes"]),
        *(Node(_unread(**one)) for one in result["unread"]),
    ]
    if about:
        roots.append(Node("what was not looked at", tuple(about), "title"))
    coloured, drawn = tree.is_coloured(), tree.is_drawn()
    for root in roots:
        for line in tree.lines(root, coloured=coloured, drawn=drawn):
            print(line)


def _unread(what: str, why: str) -> str:
    return f"could not see: {why}" if why.endswith(what) else f"could not see {what}: {why}"


def _object(found: Report) -> Node:
    title = f"{found['kind'].lower() or 'an object'}/{found['name']}"
    if found["namespace"]:
        title += f" in namespace {found['namespace']}"
    parts = [Node(f"problem: {problem}", (), "bad") for problem in found["problems"]]
    parts += _verdict(found)
    if found["kind"] != "Namespace":
        parts += _living(found)
        parts += _calls(found)
        parts += _layers(found)
        parts += _enforcement(found)
    parts += [Node(note, (), "dim") for note in found.get("notes", ())]
    return Node(title, tuple(parts), "title")


def _verdict(found: Report) -> Iterator[Node]:
    verdict = found["verdict"]
    if verdict is None:
        yield Node("verdict: not known, for the namespace could not be seen", (), "bad")
        return
    mood: Mood = "good" if verdict["reason"] in ("injected", "rewritten") else "plain"
    texts = [
        verdict["problem"],
        verdict.get("denial", ""),
        *_if("status: ", verdict.get("status", "")),
    ]
    children = [Node(text) for text in texts if text]
    children += [Node(f"fault: {fault}", (), "bad") for fault in found["faults"]]
    # The author of a template hears of its faults once, although its pods have them too.
    told = {place for fault in found["faults"] for place in (fault, fault.replace(*FROM_WORKLOAD))}
    children += [Node(f"warning: {text}") for text in verdict["warnings"] if text not in told]
    children += _patch(verdict)
    yield Node(f"{verdict['reason']}: {MEANINGS[verdict['reason']]}", tuple(children), mood)
    workload = found.get("workload")
    if workload is not None and workload["reason"] != "not-requested":
        warned = [Node(f"warning: {text}") for text in workload["warnings"] if text not in told]
        text = f"its workload: {workload['reason']}: {MEANINGS[workload['reason']]}"
        yield Node(text, (*warned, *_patch(workload)))


def _if(label: str, text: str) -> list[str]:
    return [label + text] if text else []


def _patch(decision: Report) -> list[Node]:
    operations = decision.get("patch")
    if operations is None:
        return []
    children = tuple(Node(json.dumps(operation)) for operation in operations)
    return [Node("patch" if children else "patch: none", children)]


def _living(found: Report) -> Iterator[Node]:
    if found.get("owner"):
        yield Node(f"made by {found['owner']}")
    pods = found.get("pods") or ()
    is_itself = found["kind"] == "Pod"
    if found.get("pods") == [] and not is_itself:
        yield Node("has no pods that were looked at")
    alike: dict[str, list[Report]] = {}
    for pod in pods:
        alike.setdefault(json.dumps({**pod, "name": "", "created": ""}), []).append(pod)
    yield from (_pods(group, is_itself=is_itself) for group in alike.values())
    if pods and found.get("wouldGet") and any(pod["differs"] for pod in pods):
        yield Node("now it would get", tuple(_tokens(found["wouldGet"])))
    if found.get("restart"):
        restart = found["restart"]
        parts = [part for part in (restart["command"], restart["remark"]) if part]
        yield Node(f"to do: {parts[0]}", tuple(map(Node, parts[1:])), "bad")
    for event in found.get("refusals", ()):
        about = f"{event['object']}{times(event['count'])}"
        yield Node(f"event at {event['time']} on {about}: {event['message']}", (), "bad")


def _pods(pods: list[Report], *, is_itself: bool) -> Node:
    """Pods that have the same, and for the same reason."""
    first, differs = pods[0], pods[0]["differs"]
    names_of = ", ".join(pod["name"] for pod in pods[:MAX_PODS])
    more = f" and {len(pods) - MAX_PODS} more" if len(pods) > MAX_PODS else ""
    who = "it" if is_itself else f"{len(pods)} pods" if len(pods) > 1 else f"pod/{first['name']}"
    is_one = is_itself or len(pods) == 1
    what = {
        True: "differs" if is_one else "differ",
        False: "is as it would be made now" if is_one else "are as they would be made now",
        None: "cannot be compared",
    }
    times = sorted({pod["created"] for pod in pods})
    when = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    children = [Node(f"why: {cause['text']}", (), "bad") for cause in first["causes"]]
    children += [Node(text) for text in _if("", first.get("remark", ""))]
    children += _tokens(first["has"])
    children += [Node(names_of + more, (), "dim")] * (not is_one)
    mood: Mood = "bad" if differs else "good" if differs is False else "plain"
    return Node(f"{who} {what[differs]}, made at {when}", tuple(children), mood)


def _tokens(has: Report) -> Iterator[Node]:
    if has["status"]:
        yield Node(f"status: {has['status']}")
    for token in has["tokens"]:
        seconds = token["expirationSeconds"]
        is_year = seconds == names.YEAR_TRAP_SECONDS and not token["audience"]
        life = f"a year ({seconds} s)" if is_year else f"{seconds} s"
        audience = displayed(token["audience"]) if token["audience"] else "the API server"
        yield Node(
            f"token of {token['kind']}: {life}, for {audience}, {token['volume']}/{token['file']}"
        )
    if not has["tokens"]:
        yield Node("no token")


def _calls(found: Report) -> Iterator[Node]:
    calls = found["calls"]
    if calls is None:
        return
    children = [*map(_call, calls), *_behind(calls)]
    others = found["others"] or {}
    for when, text in (
        ("before", "before boundtoken"),
        ("again", "called again after boundtoken's change"),
        ("after", "after boundtoken"),
    ):
        if others.get(when):
            children.append(Node(f"{text}: {', '.join(others[when])}"))
    if children:
        yield Node("would the API server call boundtoken", tuple(children))


def _call(call: Report) -> Node:
    holding = [check["what"] for check in call["checks"] if check["holds"]]
    children = [Node(f"matches: {', '.join(holding)}")] if holding else []
    for check in call["checks"]:
        if not check["holds"]:
            what = "does not match" if check["holds"] is False else "not known"
            text = f"{check['what']} {what}"
            children.append(Node(text + f": {check['text']}" * bool(check["text"]), (), "bad"))
    is_pods = call["request"].endswith(" pods")
    mood: Mood = "good" if call["called"] else "bad" if is_pods else "plain"
    text = f"{call['webhook']} for {call['request']}: {CALLED[call['called']]}"
    return Node(text, tuple(children), mood)


def _behind(calls: list[Report]) -> Iterator[Node]:
    """What stands behind the entries: once for those that are alike."""
    alike: dict[tuple[Mood, str], list[str]] = {}
    for call in calls:
        for what, state in (("caBundle: ", call["caBundle"]), ("", call["service"])):
            mood: Mood = "bad" if state["ok"] is False else "plain"
            alike.setdefault((mood, what + state["text"]), []).append(call["webhook"])
        text = f"failurePolicy {call['failurePolicy']}: while boundtoken is away, requests are {call['away']}"
        alike.setdefault(("plain", text), []).append(call["webhook"])
    number = len({call["webhook"] for call in calls})
    for (mood, text), webhooks in alike.items():
        those = list(dict.fromkeys(name.partition(".")[0] for name in webhooks))
        yield Node(text if len(those) == number else f"{text} ({', '.join(those)})", (), mood)


def _layers(found: Report) -> Iterator[Node]:
    children = [_setting(one) for one in found["layers"]]
    children += [
        Node(f"lock {one['name']}={one['value']} of {one['set_by']}") for one in found["locks"]
    ]
    if children:
        yield Node(f"layers (configuration: {found['configuration']})", tuple(children))


def _setting(setting: Report) -> Node:
    value = setting["value"] or {"audience": OWN_AUDIENCE}.get(setting["name"], "none")
    requests = setting["requests"]
    children = [Node(_request(one), (), "bad" if one["problem"] else "plain") for one in requests]
    by = f" (by {setting['decidedBy']})"
    # Where only the defaults have a say, there is nothing to tell beside the value.
    if [one["layer"] for one in requests] in ([], ["defaults"]) and setting["decidedBy"] != "locks":
        children = []
    return Node(
        f"{setting['name']}: {value if not setting['value'] else value_shown(value)}{by}",
        tuple(children),
    )


def _request(request: Report) -> str:
    problem = f": {request['problem']}" if request["problem"] else ""
    value = value_shown(request["value"]) if request["value"] else '""'
    if request["layer"] == "defaults" and not request["value"]:
        value = OWN_AUDIENCE  # of all settings that have defaults only this one can be empty
    return f"{request['layer']} requests {value}{problem}"


def _enforcement(found: Report) -> Iterator[Node]:
    judged = found["enforcement"]
    if judged is None or judged["reason"] == "not-applicable":
        return
    children = [
        Node(f"{one['name']}: {one['value']}, of {one['set_by']}") for one in found["demands"]
    ]
    children += [Node(text, (), "bad") for text in _if("refused: ", judged["denial"])]
    children += [Node(f"warning: {text}") for text in judged["warnings"]]
    children += [
        Node(text)
        for text in (*_if("audited: ", judged["audit"]), *_if("exempt by ", judged["exempt"]))
    ]
    if judged["awayDenial"] and not judged["denial"]:
        children.append(
            Node("while boundtoken is away it is refused: it complies by injection only")
        )
    policies = found["policies"]
    if policies is not None and policies["ok"] is False and found["demands"]:
        children.append(Node(policies["text"], (), "bad"))
    rules = sorted({one["rule"] for one in judged["violations"]})
    text = f"enforcement: {judged['reason']}: {MEANINGS[judged['reason']]}"
    yield Node(text + (f" ({', '.join(rules)})" if rules else ""), tuple(children))
