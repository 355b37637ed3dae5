"""Tokens that are received, on the real API server: what ends with its object, which audience is
accepted, and that keys and TokenReview say the same of 200 tokens.
"""

import contextlib
import itertools
import json
import random
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.controlplane.cluster import ISSUER, ControlPlane, StatusError
from tests.support.builders import Json, a_bare_pod
from tests.support.claims import assembled, encoded
from tests.support.issuer import Key
from tests.support.reviewing import EcKey, signed
from tests.support.waiting import wait_for
from webhook.tokens import (
    ApiServer,
    Identity,
    InvalidToken,
    JwksVerifier,
    NotVerified,
    ObjectReference,
    TokenRequest,
    TokenRequestSource,
    TokenReviewVerifier,
)

VAULT, CART, OTHER = "https://vault.example", "https://cart.shop", "https://other.example"
NAMESPACE = "tokens-received"
BINDING = "stock-reviews-tokens"
COUNT = 200


class Setting(NamedTuple):
    """The API server, its key, and two verifiers that keep nothing."""

    plane: ControlPlane
    api: ApiServer
    review: TokenReviewVerifier
    jwks: JwksVerifier

    def token(
        self,
        *audiences: str,
        account: str = "cart",
        seconds: int = 3600,
        bound_to: ObjectReference | None = None,
    ) -> str:
        request = TokenRequest(NAMESPACE, account, audiences, seconds, bound_to)
        return TokenRequestSource(self.api, request).get()

    def key(self) -> Key:
        """The cluster's signing key, by which every token can be made."""
        private: Any = serialization.load_pem_private_key(
            (self.plane.folder / "sa.key").read_bytes(), None
        )
        key = Key.__new__(Key)
        key.private = private
        key.kid = jwt.get_unverified_header(self.token(VAULT))["kid"]
        return key

    def create(self, path: str, body: Json) -> Json:
        """An object, or the one that is there already."""
        with contextlib.suppress(StatusError):
            return dict(self.plane.call("POST", path, body))
        return dict(self.plane.call("GET", f"{path}/{body['metadata']['name']}"))


@pytest.fixture(scope="module")
def setting(plane: ControlPlane) -> Iterator[Setting]:
    api = ApiServer.from_kubeconfig(str(plane.kubeconfig()))
    setting = Setting(plane, api, TokenReviewVerifier(api, cache_seconds=0), JwksVerifier(api))
    setting.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for name in ("cart", "stock"):
        setting.create(
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": name}}
        )
    yield setting
    for path in (
        path_of("Node", "mortal-node"),
        f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{BINDING}",
        f"/api/v1/namespaces/{NAMESPACE}",
    ):
        with contextlib.suppress(StatusError):
            plane.call("DELETE", path)


def verdict(verifier: Any, token: str, audience: str = VAULT) -> Identity | str:
    """Whose token it is, or why it is refused."""
    try:
        found: Identity = verifier.verify(token, audience=audience)
    except InvalidToken as problem:
        assert not token or token not in str(problem)
        return problem.reason
    return found


def is_accepted(setting: Setting, token: str, audience: str = VAULT) -> bool:
    """What the API server itself says, without our library."""
    if not token:
        return False  # it answers 400
    status = setting.plane.review_token(token, audience)
    return bool(status.get("authenticated")) and audience in status["audiences"]


def a_pod(setting: Setting, name: str, **spec: Any) -> Json:
    pod = a_bare_pod()
    pod["metadata"] = {"name": name}
    pod["spec"] |= {"serviceAccountName": "cart", **spec}
    return setting.create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)


def a_secret(setting: Setting, name: str) -> Json:
    return setting.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", {"metadata": {"name": name}})


def a_node(setting: Setting, name: str) -> Json:
    return setting.create("/api/v1/nodes", {"metadata": {"name": name}})


def reference(kind: str, thing: Json) -> ObjectReference:
    return ObjectReference(kind, thing["metadata"]["name"], thing["metadata"]["uid"])


def path_of(kind: str, name: str) -> str:
    plural = f"{kind.lower()}s"
    return (
        f"/api/v1/{plural}/{name}"
        if kind == "Node"
        else (f"/api/v1/namespaces/{NAMESPACE}/{plural}/{name}")
    )


def test_a_token_ends_with_its_account_and_with_the_object_that_it_is_bound_to(
    setting: Setting,
) -> None:
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    an_account = setting.create(accounts, {"metadata": {"name": "mortal"}})
    bound = {
        kind: reference(kind, make(setting, f"mortal-{kind.lower()}"))
        for kind, make in (("Pod", a_pod), ("Secret", a_secret), ("Node", a_node))
    }
    tokens = {kind: setting.token(VAULT, bound_to=thing) for kind, thing in bound.items()}
    tokens["ServiceAccount"] = setting.token(VAULT, account="mortal")
    keeping = TokenReviewVerifier(setting.api)
    identities: dict[str, Any] = {}
    for kind, token in tokens.items():
        identities[kind] = identity = verdict(setting.review, token)
        assert isinstance(identity, Identity)
        assert identity.bound_to == bound.get(kind)
        assert verdict(setting.jwks, token) == verdict(keeping, token) == identity
    assert str(identities["ServiceAccount"]) == f"{NAMESPACE}/mortal"
    assert identities["ServiceAccount"].uid == an_account["metadata"]["uid"]

    for kind, thing in bound.items():
        setting.plane.call("DELETE", path_of(kind, thing.name), {"gracePeriodSeconds": 0})
    setting.plane.call("DELETE", f"{accounts}/mortal")
    for kind, token in tokens.items():
        # The API server itself keeps its answers for 10 seconds.
        wait_for(lambda token=token: verdict(setting.review, token) == "revoked", 30)
        assert verdict(keeping, token) == identities[kind]  # for a minute
        assert verdict(setting.jwks, token) == identities[kind]  # as its docstring says

    setting.create(accounts, {"metadata": {"name": "mortal"}})
    for kind, make in (("Pod", a_pod), ("Secret", a_secret), ("Node", a_node)):
        assert reference(kind, make(setting, bound[kind].name)).uid != bound[kind].uid
    for token in tokens.values():
        assert verdict(setting.review, token) == "revoked"


def test_a_pods_token_says_where_the_pod_runs(setting: Setting) -> None:
    node = reference("Node", a_node(setting, "node-of-verify"))
    pod = reference("Pod", a_pod(setting, "placed", nodeName=node.name))
    tokens = [setting.token(VAULT, bound_to=pod) for _ in range(2)]
    identity = verdict(setting.review, tokens[0])
    assert isinstance(identity, Identity)
    assert (identity.pod, identity.node, identity.bound_to) == (pod, node, pod)
    assert identity.credential_id
    assert verdict(setting.jwks, tokens[0]) == identity
    # The node is only told: the token is bound to the pod.
    setting.plane.call("DELETE", path_of("Node", node.name))
    assert isinstance(verdict(setting.review, tokens[1]), Identity)


def test_a_token_for_several_audiences_is_accepted_for_those_and_no_other(
    setting: Setting,
) -> None:
    token = setting.token(VAULT, CART)
    for verifier in (setting.review, setting.jwks):
        accepted = [
            audience
            for audience in (VAULT, CART, OTHER, ISSUER, VAULT + "/", VAULT.upper(), "vault")
            if isinstance(verdict(verifier, token, audience), Identity)
        ]
        assert accepted == [VAULT, CART]


def test_a_token_of_the_api_server_is_for_it_alone(setting: Setting) -> None:
    token = setting.token()
    for verifier in (setting.review, setting.jwks):
        assert isinstance(verdict(verifier, token, ISSUER), Identity)
        assert verdict(verifier, token, VAULT) == "wrong-audience"


def test_a_legacy_token_is_for_no_audience_though_the_api_server_takes_it(
    setting: Setting,
) -> None:
    secret = {
        "metadata": {
            "name": "legacy",
            "annotations": {"kubernetes.io/service-account.name": "cart"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    setting.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)

    def data() -> Any:
        return setting.plane.call("GET", path_of("Secret", "legacy")).get("data", {}).get("token")

    token = jwt.utils.base64url_decode(wait_for(data)).decode()
    assert is_accepted(setting, token, ISSUER)
    for verifier in (setting.review, setting.jwks):
        assert verdict(verifier, token, ISSUER) == "wrong-audience"


def test_who_may_not_create_reviews_is_told_what_it_needs_and_who_may_verifies(
    setting: Setting,
) -> None:
    class OfAnAccount:
        """The credentials of a service account, as a pod has them."""

        server = setting.plane.url

        def __init__(self) -> None:
            self._context = ssl.create_default_context(cafile=str(setting.plane.ca_file))
            self._token = setting.token(account="stock")

        def tls(self) -> ssl.SSLContext:
            return self._context

        def header(self) -> str:
            return f"Bearer {self._token}"

    api = ApiServer(OfAnAccount())
    token = setting.token(VAULT)
    with pytest.raises(NotVerified, match=r"403: .*; needs a .* to system:auth-delegator"):
        TokenReviewVerifier(api).verify(token, audience=VAULT)
    # Every service account may read the keys of the cluster, unless an admin took it away.
    assert isinstance(verdict(JwksVerifier(api), token), Identity)
    setting.create(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": BINDING},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "stock", "namespace": NAMESPACE}],
        },
    )

    def verified() -> bool:
        with contextlib.suppress(NotVerified):
            return isinstance(verdict(TokenReviewVerifier(api), token), Identity)
        return False

    wait_for(verified)


def test_keys_come_from_the_api_server_itself(setting: Setting) -> None:
    """Its jwks_uri is an address that nobody reaches here."""
    document = json.loads(setting.api.get("/.well-known/openid-configuration"))
    assert document["issuer"] == ISSUER
    assert not document["jwks_uri"].startswith(setting.plane.url)
    assert isinstance(verdict(JwksVerifier(setting.api), setting.token(VAULT)), Identity)


def test_with_signatures_forged_tokens_cost_the_api_server_nothing(setting: Setting) -> None:
    verifier = TokenReviewVerifier(setting.api, signatures=setting.jwks)
    token = setting.token(VAULT)
    assert isinstance(verdict(verifier, token), Identity)

    def reviews() -> int:
        return setting.plane.audit_log.read_text().count('"/apis/authentication.k8s.io/v1/tokenr')

    before = reviews()
    for forged in (token[:-4] + "AAAA", *(forge(setting, token) for forge in FORGERIES)):
        assert not isinstance(verdict(verifier, forged), Identity)
    assert reviews() == before


def _other_key(setting: Setting, token: str) -> str:
    return signed(Key(setting.key().kid), claims_of(token))


def _no_algorithm(setting: Setting, token: str) -> str:
    return assembled({"alg": "none"}, claims_of(token), b"")


def _public_key_as_secret(setting: Setting, token: str) -> str:
    import hashlib
    import hmac

    key = setting.key()
    pem = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = assembled({"alg": "HS256", "kid": key.kid}, claims_of(token), b"")
    return text + encoded(hmac.digest(pem, text.rstrip(".").encode(), hashlib.sha256))


FORGERIES = (_other_key, _no_algorithm, _public_key_as_secret)


def claims_of(token: str) -> Json:
    return dict(jwt.decode(token, options={"verify_signature": False}))


class Maker:
    """Makes tokens of every kind, as the API server would have signed them or not."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self._setting = setting
        self._random = random.Random(seed)
        self._key = setting.key()
        self._real = [
            setting.token(*audiences, account=account, seconds=seconds)
            for audiences, account, seconds in [
                ((VAULT,), "cart", 600),
                ((VAULT, CART), "stock", 3600),
                ((CART, OTHER, VAULT), "cart", 86_400),
            ]
        ]
        self._foreign, self._curve = Key(self._key.kid), EcKey(self._key.kid)

    def tokens(self, count: int) -> list[tuple[str, str, str]]:
        """Kind, token and the audience that it is shown to."""
        kinds = [getattr(type(self), name) for name in dir(self) if name.startswith("make_")]
        found = []
        for make in itertools.islice(itertools.cycle(kinds), count):
            token = make(self)
            audience = OTHER if make is Maker.make_one_for_another_audience else VAULT
            found.append((make.__name__, token, audience))
        return found

    def _claims(self, **changed: Any) -> Json:
        claims = claims_of(self._random.choice(self._real[:2])) | changed
        return {name: value for name, value in claims.items() if value is not None}

    def _signed(self, _header: Json | None = None, **changed: Any) -> str:
        return signed(self._key, self._claims(**changed), **(_header or {}))

    def _later(self) -> int:
        return self._random.choice([90, 600, 86_400, 10**9])

    def make_a_real_one(self) -> str:
        return self._random.choice(self._real)

    def make_one_as_the_api_server_signs_it(self) -> str:
        return self._signed()

    def make_one_without_a_key_id(self) -> str:
        return self._signed({"kid": ""})

    def make_one_that_brings_a_key(self) -> str:
        own: list[Json] = [
            {"jku": "https://evil.example/keys"},
            {"x5u": "https://evil.example/x"},
            {"x5t": "x"},
        ]
        return self._signed(self._random.choice(own))

    def make_one_with_its_audience_as_a_text(self) -> str:
        return self._signed(aud=VAULT)

    def make_one_with_a_fraction_of_a_second(self) -> str:
        return self._signed(exp=time.time() + 900.25)

    def make_one_with_unknown_claims(self) -> str:
        return self._signed(scope="all", admin=True)

    def make_one_for_another_audience(self) -> str:
        return self._real[0]

    def make_one_signed_for_another_audience(self) -> str:
        return self._signed(
            aud=self._random.choice([[CART], CART, VAULT + "/", [VAULT.upper()], ["", " "]])
        )

    def make_one_for_no_audience(self) -> str:
        return self._signed(aud=self._random.choice([None, []]))

    def make_an_expired_one(self) -> str:
        now = int(time.time())
        return self._signed(exp=now - self._later(), iat=now - 2 * 10**9, nbf=now - 2 * 10**9)

    def make_a_future_one(self) -> str:
        now = int(time.time())
        return self._signed(nbf=now + self._later(), exp=now + 2 * 10**9)

    def make_one_issued_in_the_future(self) -> str:
        now = int(time.time())
        return self._signed(iat=now + self._later(), exp=now + 2 * 10**9)

    def make_one_of_another_issuer(self) -> str:
        others = ["https://evil.example", ISSUER + "/", ISSUER.upper(), "kubernetes/serviceaccount"]
        return self._signed(iss=self._random.choice([*others, "", None]))

    def make_one_without_an_algorithm(self) -> str:
        header = {"alg": self._random.choice(["none", "None", "NONE"])}
        end = self._random.choice([b"", b"x"])
        return assembled(header, self._claims(), end)

    def make_one_with_the_public_key_as_secret(self) -> str:
        return _public_key_as_secret(self._setting, self._real[0])

    def make_a_truncated_one(self) -> str:
        return self._real[0][: self._random.randrange(len(self._real[0]) - 2)]

    def make_one_with_other_claims(self) -> str:
        head, _, signature = self._real[0].split(".")
        changed: Json = self._random.choice(
            [{"exp": 2**33}, {"sub": "x"}, {"aud": [VAULT]}, {"jti": "x"}]
        )
        return f"{head}.{encoded(json.dumps(self._claims(**changed)).encode())}.{signature}"

    def make_one_with_another_header(self) -> str:
        _, payload, signature = self._real[0].split(".")
        header = {"alg": self._random.choice(["RS256", "RS512"]), "kid": self._key.kid, "x": 1}
        return f"{encoded(json.dumps(header).encode())}.{payload}.{signature}"

    def make_one_with_a_changed_letter(self) -> str:
        token = self._real[0]
        place = self._random.randrange(len(token) - 2)
        letter = "A" if token[place] != "A" else "B"
        return token[:place] + letter + token[place + 1 :]

    def make_one_of_an_unknown_key(self) -> str:
        return self._signed({"kid": f"key-{self._random.random()}"})

    def make_one_of_another_key(self) -> str:
        return signed(self._foreign, self._claims())

    def make_one_of_another_key_without_its_id(self) -> str:
        return signed(self._foreign, self._claims(), kid="")

    def make_one_of_another_kind_of_key(self) -> str:
        return signed(self._curve, self._claims(), "ES256")

    def make_one_of_nobody(self) -> str:
        private = self._random.choice([None, {}, {"namespace": NAMESPACE}])
        return self._signed(**{"kubernetes.io": private})

    def make_one_with_a_claim_twice(self) -> str:
        text = json.dumps(self._claims()).replace('"aud":', f'"aud": ["{VAULT}"], "aud":', 1)
        head = encoded(json.dumps({"alg": "RS256", "kid": self._key.kid}).encode())
        signing = f"{head}.{encoded(text.encode())}"
        signature = self._key.private.sign(signing.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signing}.{encoded(signature)}"

    def make_one_with_an_expiry_in_words(self) -> str:
        return self._signed(exp=str(int(time.time()) + 900))

    def make_one_with_an_extension(self) -> str:
        return self._signed({"crit": ["x"], "x": 1})

    def make_one_with_more_around_it(self) -> str:
        token = self._real[0]
        return self._random.choice([token + "=", token + ".", token + "." + token, "." + token])

    def make_garbage(self) -> str:
        garbage = ["", ".", "..", "a.b.c", "e30.e30.e30", "x" * 2000, "e30." * 500]
        return self._random.choice(garbage)


def test_keys_and_reviews_say_the_same_of_200_tokens(setting: Setting) -> None:
    made = Maker(setting, seed=14).tokens(COUNT)
    assert len(made) == COUNT
    differing, accepted = [], Counter[str]()
    for kind, token, audience in made:
        by_keys = verdict(setting.jwks, token, audience)
        by_review = verdict(setting.review, token, audience)
        by_server = is_accepted(setting, token, audience)
        accepted[kind] += by_server
        is_same = by_keys == by_review if by_server else isinstance(by_review, str)
        if isinstance(by_keys, Identity) is not by_server or not is_same:
            differing.append((kind, by_keys, by_review, by_server))
    assert differing == []
    assert sorted(kind for kind, times in accepted.items() if times) == [
        "make_a_real_one",
        "make_one_as_the_api_server_signs_it",
        "make_one_that_brings_a_key",
        "make_one_with_a_fraction_of_a_second",
        "make_one_with_its_audience_as_a_text",
        "make_one_with_unknown_claims",
        "make_one_without_a_key_id",
    ]


def test_where_the_library_is_stricter_than_the_api_server(setting: Setting) -> None:
    """Only a holder of the signing key can make these. Each is accepted by the API server."""
    key, now = setting.key(), int(time.time())
    claims = claims_of(setting.token(VAULT))
    whole = signed(key, claims)
    no_expiry = {name: value for name, value in claims.items() if name != "exp"}
    last = whole[-1]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    strict = {
        "expired half a minute ago": (signed(key, claims | {"exp": now - 30}), "expired"),
        "valid in half a minute": (signed(key, claims | {"nbf": now + 40}), "not-yet-valid"),
        "no expiry": (signed(key, no_expiry), "malformed"),
        "another subject": (
            signed(key, claims | {"sub": "system:serviceaccount:kube-system:cart"}),
            "not-a-service-account",
        ),
        "another text of the signature": (
            whole[:-1] + letters[letters.index(last) + 1],
            "malformed",
        ),
    }
    for name, (token, reason) in strict.items():
        assert is_accepted(setting, token), name
        assert verdict(setting.review, token) == verdict(setting.jwks, token) == reason, name
    for algorithm in ("RS512", "PS256"):  # the key's entry says RS256
        token = signed(key, claims, algorithm)
        assert is_accepted(setting, token)
        assert verdict(setting.jwks, token) == "bad-algorithm"
        assert isinstance(verdict(setting.review, token), Identity)


def test_the_api_servers_words_are_understood(setting: Setting) -> None:
    """Reasons are read from its errors; a release that words them anew is noticed here."""
    key = setting.key()
    claims = claims_of(setting.token(VAULT))
    private = claims["kubernetes.io"]

    def of_account(name: str, uid: str) -> Json:
        account = {"name": name, "uid": uid}
        return {
            "sub": f"system:serviceaccount:{NAMESPACE}:{name}",
            "kubernetes.io": private | {"serviceaccount": account},
        }

    lenient = TokenReviewVerifier(setting.api, cache_seconds=0, leeway=3600)
    now = int(time.time())
    for changed, reason in [
        (of_account("nobody", "x"), "revoked"),
        (of_account("cart", "another"), "revoked"),
        ({"kubernetes.io": private | {"pod": {"name": "gone", "uid": "x"}}}, "revoked"),
        ({"exp": now - 90}, "expired"),
        ({"nbf": now + 90}, "not-yet-valid"),
        ({"iat": now + 90}, "not-yet-valid"),
        ({"iss": "https://evil.example"}, "unauthenticated"),
    ]:
        assert verdict(lenient, signed(key, claims | changed)) == reason, changed
    assert verdict(lenient, signed(key, claims, kid="unknown")) == "unknown-key"
    assert verdict(lenient, signed(Key(key.kid), claims)) == "bad-signature"
