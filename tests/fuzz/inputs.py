"""Inputs for the fuzzers: what once went wrong, valid ones to start from, and ways to spoil
them.
"""

import base64
import json
import random
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from webhook.pki import authority, ca_secret
from webhook.pki.ca_secret import CertificateAuthorities
from webhook.pki.pem import KeyPair, joined

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAX_BYTES = 200_000
"""Of one input: beyond every limit that holds for files and fields, and quick to make."""

Make = Callable[[random.Random], bytes]
"""One input."""

HEAD = b"apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
NAMESPACE = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {boundtoken.dev/inject: enabled}}\n"
CONFIGURATIONS = [
    HEAD
    + b"defaults: {inject: enabled, automount: disabled, audience: vault, expirationSeconds: 900, mountPath: /var/t}\n"
    b"locks: {maxExpirationSeconds: 3600, allowedAudiences: [vault], podOverrides: denied, enforceFloor: bound}\n"
    b"namespaces: {excluded: [a, b]}\nexemptions: {usernames: [alice], serviceAccounts: [ns/sa]}\n"
    b"tokenRequests: {mode: warn, maxExpirationSeconds: 7200}\nlegacySecrets: {mode: 'off'}\napiAudiences: [api]\n",
    HEAD + b"defaults: {inject: !!bool x}\n",
    HEAD + b"defaults: {inject: !!int ''}\n",
    HEAD + b"defaults: {inject: !!timestamp x}\n",
    HEAD + b"defaults: {expirationSeconds: " + b"1:" * 400 + b"1.5}\n",
    HEAD + b"defaults: {expirationSeconds: 0x" + b"f" * 5000 + b"}\n",
    HEAD + b'"\\ud800": x\n',
    HEAD + b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    HEAD + b"namespaces: {excluded: [" + b"shop, " * 12_000 + b"]}\n",
    HEAD + b"".join(b"k%d: x\n" % number for number in range(2000)),
    NAMESPACE + b"---\n" + NAMESPACE,
    NAMESPACE + b"spec:\n  list:\n  - a: 1\n    b: {c: [d, 'e', \"f\"]}\n  - |\n    text\n",
]
YAML_PIECES = [
    b"!!bool ", b"!!int ''", b"!!float x", b"!!null x", b"!!seq x", b"!!map [", b"!!binary x", b"!!set {a, b}", b"!!omap [a: 1]",
    b"!!timestamp x", b"!!python/name:os.system ", b"! ", b"!<tag:yaml.org,2002:int> ''", b"%YAML 9.9\n---\n", b"%TAG ! x:\n",
    b"&a ", b"*a", b"<<: ", b"=", b"? ", b": ", b"- ", b"[", b"]", b"{", b"}", b"'", b'"', b"|", b">", b"#", b"\n", b"\t", b"---\n",
    b"...\n", b"0x", b"0b1", b"0o7", b"1:1:1", b"1:1.5", b".inf", b".nan", b"-0", b"1e999", b"2026-13-45", b"2026-01-01T99:99:99Z",
    b"9" * 5000, b"\\ud800", b"\\x00", b"\\U0010ffff", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xe2\x80\xa8", "é".encode(), b"null", b"on",
]  # fmt: skip
TIMES = [
    b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2026-01-01", b"2026-W01", b"20260101T000000Z", b"", b"\x00", b"9" * 9000,
]  # fmt: skip
DER_PIECES = [
    b"\xa0\x03\x02\x01\x07", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x13",
    b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x06\x05\x2b\x81\x04\x00\x22", b"\x17\x0d000000000000Z", b"\x18\x0f99991231235959Z",
    b"\x18\x0f00000101000000Z", b"\x02\x01\x00", b"\x05\x00", b"\x0c\x04\xff\xff\xff\xff", b"\x03\x02\x01\x06", b"\x01\x01\xff",
]  # fmt: skip
JSON_PIECES = [
    b"null", b"[]", b"{}", b"0", b"-1", b"1e999", b'""', b'"\\ud800"', b'"\xff"', b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"true",
    b'"metadata"', b'"resourceVersion"', b'"continue"', b'"items"', b'"data"', b'"code": 410', b'"type": "ERROR"', b"\n", b"<html>",
]  # fmt: skip
HTTP_PIECES = [
    b"HTTP/1.1 410 Gone\r\n", b"HTTP/1.1 429 x\r\nRetry-After: 86400\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/9.9 999 \xff\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Length: 9999999\r\n",
    b"Content-Length: -1\r\n", b"Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n", b"Date: \xff\r\n", b"Location: \x00\r\n", b"X: " + b"y" * 9000,
    b"ffffffffffffffff\r\n", b"0\r\n\r\n", b"\r\n", b"\n", b"Set-Cookie: a=\xff; expires=x\r\n", b"Retry-After: 1e9\r\n", b"Upgrade: h2c\r\n",
]  # fmt: skip
METADATA = {
    "name": "shop",
    "namespace": "shop",
    "resourceVersion": "7",
    "annotations": {"boundtoken.dev/inject": "enabled"},
}
ANSWERS = [
    {"metadata": {"resourceVersion": "7", "continue": ""}, "items": [{"metadata": METADATA}]},
    {"type": "ADDED", "object": {"metadata": METADATA}},
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}},
    {"metadata": METADATA, "data": {"ca.crt": "eA==", "ca.key": None}},
    {
        "metadata": METADATA,
        "webhooks": [
            {"name": "x", "clientConfig": {"service": {"name": "boundtoken"}, "caBundle": "eA=="}}
        ],
    },
    {
        "items": [
            {
                "metadata": METADATA,
                "spec": {"containers": [{"ports": [{"name": "tls", "containerPort": 10250}]}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            }
        ]
    },
    {"kind": "Status", "message": "no", "reason": "Forbidden", "code": 403},
]

CA, NEXT = (
    authority.make_authority(ca_secret.COMMON_NAME, NOW, timedelta(days=365)) for _ in range(2)
)
LEAF = authority.issue(CA, ["localhost", "127.0.0.1"], NOW, timedelta(days=7))


def spoilt(rng: random.Random, start: bytes, pieces: Sequence[bytes]) -> bytes:
    """`start` with one to four changes: bits, bytes, slices that go, come twice or trade places,
    and pieces.
    """
    data = start
    for _ in range(rng.randint(1, 4)):
        low, high = sorted(rng.randint(0, len(data)) for _ in range(2))
        near = min(high, low + rng.randint(0, 8))
        match rng.randrange(9):
            case 0 if data:
                place = rng.randrange(len(data))
                data = (
                    data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
                )
            case 1:
                data = data[:low] + data[near:]
            case 2:
                data = data[:low] + rng.choice(pieces) + data[low:]
            case 3:
                data = data[:low] + rng.choice(pieces) + data[near:]
            case 4:
                data = data[:low] + data[low:high] * rng.choice((2, 3, 50)) + data[high:]
            case 5:
                data = data[:low]
            case 6:
                data = data[high:] + data[low:high] + data[:low]
            case 7:
                data = data[:low] + rng.randbytes(rng.randint(1, 8)) + data[near:]
            case _:
                data = data[:low] + rng.choice(pieces) * rng.randint(1, 200) + data[low:]
        data = data[:MAX_BYTES]
    return data


def a_configuration(rng: random.Random) -> bytes:
    return spoilt(rng, rng.choice(CONFIGURATIONS), YAML_PIECES)


def a_pair(rng: random.Random) -> bytes:
    """Certificates and a key, a NUL between them."""
    pair = rng.choice((CA, LEAF, KeyPair(LEAF.certificate, LEAF.key, (CA.certificate,))))
    return (
        _spoilt_pem(rng, joined(pair.chain))
        + b"\0"
        + (pair.key if rng.random() < 0.7 else _spoilt_pem(rng, pair.key))
    )


def a_secret(rng: random.Random) -> bytes:
    """The data of a Secret, as JSON."""
    data = {
        name: base64.b64decode(text)
        for name, text in ca_secret.to_data(
            CertificateAuthorities(CA, NEXT, (NEXT.certificate,), NOW)
        ).items()
    }
    for name in rng.sample(sorted(data), rng.randint(1, 3)):
        data[name] = (
            rng.choice(TIMES)
            if name == "retire-at"
            else _spoilt_pem(rng, rng.choice([data[name], *data.values()]))
        )
    texts = {name: base64.b64encode(content).decode() for name, content in data.items()}
    if rng.random() < 0.2:
        name = rng.choice(sorted(texts))
        texts[name] = spoilt(rng, texts[name].encode(), JSON_PIECES).decode("utf-8", "replace")
    return json.dumps(texts).encode()


def an_answer(rng: random.Random) -> bytes:
    """A whole HTTP response, its body chunked or not."""
    body = json.dumps(rng.choice(ANSWERS)).encode()
    if rng.random() < 0.7:
        body = spoilt(rng, body, JSON_PIECES)
    head = b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\n" % rng.choice(
        (200, 200, 200, 200, 404, 410, 429, 500)
    )
    if rng.random() < 0.3:
        response = (
            head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        )
    else:
        response = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return spoilt(rng, response, HTTP_PIECES) if rng.random() < 0.5 else response


def _spoilt_pem(rng: random.Random, pem: bytes) -> bytes:
    """Spoilt in its DER, mostly, which is what a reader has to look at closely."""
    if rng.random() < 0.1:
        return pem
    try:
        der = ssl.PEM_cert_to_DER_cert(pem.decode())
    except ValueError:
        return spoilt(rng, pem, DER_PIECES)
    if rng.random() < 0.2:
        return spoilt(rng, pem, DER_PIECES)
    return ssl.DER_cert_to_PEM_cert(spoilt(rng, der, DER_PIECES)).encode()
