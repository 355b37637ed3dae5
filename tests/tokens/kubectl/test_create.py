"""One token as `kubectl create token` makes it. That the words are those of the real one is seen in
tests/cluster_e2e/test_cli_token_request.py.
"""

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.issuer import Issuer
from webhook.core.claims import ObjectReference
from webhook.tokens.errors import Deleted, NoToken, RequestRefused
from webhook.tokens.kubectl.create import (
    NewToken,
    bound_object,
    create,
    lifetime_warning,
    new_token,
    without_managed_fields,
)
from webhook.tokens.kubectl.pods import check_pod_name, pod_account

CART = NewToken(namespace="shop", account="cart")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


def test_it_asks_for_what_was_given_and_leaves_the_rest_to_the_api_server() -> None:
    bare = json.loads(new_token("shop", ["cart"]).body())
    assert bare["spec"] == {"audiences": None, "boundObjectRef": None}
    bound = bound_object("Secret", "s", "")
    full = new_token("shop", ["cart"], audiences=["a", "b"], duration="5m", bound_to=bound)
    assert json.loads(full.body())["spec"] == {
        "audiences": ["a", "b"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s"},
        "expirationSeconds": 300,
    }
    with_uid = NewToken(namespace="s", account="c", bound_to=bound_object("Pod", "p", "u"))
    assert json.loads(with_uid.body())["spec"]["boundObjectRef"]["uid"] == "u"


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    odd = NewToken(namespace="../x?y", account="a/b#c")
    assert odd.path == "/api/v1/namespaces/..%2Fx%3Fy/serviceaccounts/a%2Fb%23c/token"


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    (("shop", []), {}, "exactly one NAME is required, got 0"),
    (("shop", ["a", "b"]), {}, "exactly one NAME is required, got 2"),
    (("shop", [""]), {}, "service account name is required"),
    (("shop", ["a"]), {"audiences": ["x", ""]}, "--audience must not be an empty string"),
    (("shop", ["a"]), {"duration": "-1s"}, "--duration must be greater than or equal to 0"),
    (
        ("shop", ["a"]),
        {"duration": "1500ms"},
        "--duration cannot be expressed in units less than seconds",
    ),
    (
        ("shop", ["a"]),
        {"duration": "1d"},
        'invalid argument "1d" for "--duration" flag: time: unknown unit "d" in duration "1d"',
    ),
    (
        ("shop", ["a/b%"]),
        {},
        "failed to create token: invalid resource name \"a/b%\": [may not contain '/' may not contain '%']",
    ),
    (("shop", ["\udcff"]), {}, 'resource name must be text in UTF-8; it is "\\udcff"'),
    (("shop", ["a"]), {"audiences": ["\udcff"]}, "--audience must be text in UTF-8"),
    (("..", ["a"]), {}, "failed to create token: invalid namespace \"..\": [may not be '..']"),
]


@pytest.mark.parametrize(("given", "options", "message"), WRONG)
def test_what_is_wrong_is_refused_in_the_words_of_kubectl(
    given: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        new_token(*given, **options)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("", "x", ""), "--bound-object-name can only be set if --bound-object-kind is provided"),
        (("", "", "x"), "--bound-object-uid can only be set if --bound-object-kind is provided"),
        (("Job", "x", ""), "supported --bound-object-kind values are Node, Pod, Secret"),
        (("Pod", "\udcff", ""), '--bound-object-name must be text in UTF-8; it is "\\udcff"'),
        (("Pod", "p", "\udcff"), '--bound-object-uid must be text in UTF-8; it is "\\udcff"'),
        (("Pod", "", "u"), "--bound-object-name is required if --bound-object-kind is provided"),
    ],
)
def test_a_bound_object_that_is_not_whole_is_refused(
    given: tuple[str, str, str], message: str
) -> None:
    with pytest.raises(ValueError, match="--bound-object") as refused:
        bound_object(*given)
    assert str(refused.value) == message
    assert bound_object("", "", "") is None


def test_a_token_is_created(issuer: Issuer) -> None:
    created = create(issuer.api(), CART)
    assert created.answer["status"]["token"] == created.issued.text
    assert created.issued.claims.account == "cart"
    assert without_managed_fields(created.answer)["metadata"] == {
        "name": "cart",
        "namespace": "shop",
    }
    assert without_managed_fields({"metadata": 1}) == {"metadata": 1}


@pytest.mark.parametrize(
    ("refusal", "family", "advice"),
    [
        (
            (404, 'serviceaccounts "cart" not found', "serviceaccounts"),
            Deleted,
            "; kubectl create serviceaccount cart -n shop",
        ),
        ((404, 'secrets "s" not found', "secrets"), Deleted, ""),
        ((404, "a proxy's page", ""), RequestRefused, ""),
        ((422, "spec: 10 minutes", "TokenRequest"), RequestRefused, ""),
        (
            (401, "Unauthorized", ""),
            RequestRefused,
            "; this program's own credentials are not accepted",
        ),
    ],
)
def test_a_refusal_is_the_api_servers_word_and_what_to_do(
    issuer: Issuer, refusal: tuple[int, str, str], family: type, advice: str
) -> None:
    issuer.script.append(lambda _: issuer.refuse(*refusal))
    with pytest.raises(RequestRefused) as refused:
        create(issuer.api(), CART)
    status, text, kind = refusal
    assert type(refused.value) is family
    assert str(refused.value) == f"failed to create token: {text}{advice}"
    assert refused.value.status == status
    if isinstance(refused.value, Deleted):
        assert refused.value.resource == kind


@pytest.mark.parametrize("name", ["CART", "a b", "cart ", "$(id)"])
def test_no_account_is_to_be_created_whose_name_is_none(issuer: Issuer, name: str) -> None:
    """What is shown as a command can be copied."""
    issuer.script.append(lambda _: issuer.refuse(404, "not found", "serviceaccounts"))
    with pytest.raises(Deleted, match="^failed to create token: not found$"):
        create(issuer.api(), new_token("shop", [name]))


def test_a_refusal_that_repeats_a_token_is_shown_without_it(issuer: Issuer) -> None:
    token = issuer.token()
    issuer.script.append(lambda _: issuer.refuse(400, f"no: {token}\x1b[2J"))
    with pytest.raises(RequestRefused) as refused:
        create(issuer.api(), CART)
    assert str(refused.value) == "failed to create token: no: (a token) [2J"


def test_an_error_can_be_sent_to_another_process() -> None:
    problem = pickle.loads(pickle.dumps(Deleted("text", 404, 1.0, "pods")))
    found = (str(problem), problem.status, problem.retry_after, problem.resource)
    assert found == ("text", 404, 1.0, "pods")


def test_without_an_answer_it_says_why() -> None:
    with Issuer() as gone:
        server = gone.api()
    with pytest.raises(
        NoToken, match="failed to create token: POST http://127.0.0.1:.*/api/.*ConnectionRefused"
    ):
        create(server, CART)


@pytest.mark.parametrize("answer", [{}, [], {"status": {"token": "x"}}])
def test_an_answer_without_a_token_is_told(issuer: Issuer, answer: Any) -> None:
    issuer.script.append(lambda _: (201, answer, {}))
    with pytest.raises(NoToken, match="failed to create token: "):
        create(issuer.api(), CART)


def test_it_comes_back_when_the_api_server_asks_it_to(issuer: Issuer) -> None:
    issuer.retry_after = "7"
    issuer.script.extend([429, 503])
    pauses: list[float] = []
    create(issuer.api(), CART, pauses.append)
    assert pauses == [7.0, 7.0]


def test_it_comes_back_for_half_a_minute_and_a_few_times_at_most(issuer: Issuer) -> None:
    issuer.retry_after = "16"
    issuer.script.extend([429] * 20)
    pauses: list[float] = []
    with pytest.raises(RequestRefused):
        create(issuer.api(), CART, pauses.append)
    assert pauses == [16.0]
    issuer.retry_after = "1"
    with pytest.raises(RequestRefused):
        create(issuer.api(), CART, pauses.append)
    assert pauses == [16.0] + [1.0] * 9


def test_a_life_that_was_not_requested_is_told(issuer: Issuer) -> None:
    issuer.lifetime = 600
    asking = NewToken(namespace="shop", account="cart", seconds=3600)
    created = create(issuer.api(), asking)
    assert lifetime_warning(asking, created).startswith(
        "token of shop/cart: 3600 s were requested, it lives 600 s: "
    )
    assert lifetime_warning(CART, created) == ""


def test_warnings_of_the_api_server_reach_the_caller(issuer: Issuer) -> None:
    issuer.warnings = ['a \\\\ \\"b\\"', "caf\xc3\xa9"]
    warnings: list[str] = []
    server = issuer.api(on_warning=warnings.append)
    create(server, CART)
    assert warnings == ['a \\ "b"', "café"]


POD = "/api/v1/namespaces/shop/pods/cart-0"


@pytest.mark.parametrize("name", ["cart-0", "pod/cart-0", "pods/cart-0", "po/cart-0"])
def test_a_pod_tells_account_namespace_name_and_uid(issuer: Issuer, name: str) -> None:
    metadata = {"name": "cart-0", "namespace": "shop", "uid": "u-1"}
    issuer.objects[POD] = {"metadata": metadata, "spec": {"serviceAccountName": "cart"}}
    pod = ObjectReference("Pod", "cart-0", "u-1")
    assert pod_account(issuer.api(), "shop", name) == ("shop", "cart", pod)
    issuer.objects[POD] = {"metadata": metadata, "spec": {}}
    assert pod_account(issuer.api(), "shop", name).account == "default"


def test_a_pod_that_is_not_there_or_is_none(issuer: Issuer) -> None:
    with pytest.raises(RequestRefused, match="Not Found"):
        pod_account(issuer.api(), "shop", "cart-0")
    issuer.objects[POD] = {"metadata": {}}
    with pytest.raises(NoToken, match="its answer is no Pod"):
        pod_account(issuer.api(), "shop", "cart-0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "--for-pod must not be an empty string"),
        ("pod/", "--for-pod must not be an empty string"),
        ("..", "invalid resource name \"..\": [may not be '..']"),
        ("a/b", "invalid resource name \"a/b\": [may not contain '/']"),
        ("\udcff", '--for-pod must be text in UTF-8; it is "\\udcff"'),
    ],
)
def test_what_is_no_name_of_a_pod_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        check_pod_name(name)
    assert str(refused.value) == message
