"""What maximum of a token's lifetime holds, by all that may set one."""

MAXIMA = [
    # lock, namespace, own level, floor, the floor's own, what holds
    (None, None, "bound", "off", None, 86400),
    (None, None, "strict", "off", None, 3600),
    (None, "7200", "bound", "off", None, 7200),
    (None, "100000", "bound", "off", None, 100000),
    (None, "100000", "strict", "off", None, 100000),
    (None, "4294967296", "bound", "off", None, 1 << 32),
    (None, "99999999999999999999", "bound", "off", None, 1 << 32),
    (None, "1h", "bound", "off", None, 86400),
    (None, "599", "strict", "off", None, 3600),
    (1800, None, "strict", "off", None, 1800),
    (604800, None, "strict", "off", None, 3600),
    (604800, None, "bound", "off", None, 86400),
    (604800, "31536000", "bound", "off", None, 604800),
    (None, None, "off", "bound", None, 86400),
    (None, None, "off", "strict", None, 3600),
    (None, "31536000", "off", "bound", None, 86400),
    (None, "4294967295", "off", "bound", None, 86400),
    (None, "7200", "off", "bound", None, 7200),
    (None, None, "off", "bound", 604800, 604800),
    (None, "31536000", "off", "bound", 604800, 604800),
    (None, "1200", "off", "bound", 604800, 1200),
    (1800, None, "off", "bound", 604800, 1800),
    (None, None, "strict", "bound", None, 3600),
    (None, None, "bound", "strict", None, 3600),
    (None, None, "bound", "bound", 7200, 7200),
    (None, "7200", "off", "strict", None, 3600),
    (None, "1200", "off", "strict", None, 1200),
    (None, "100000", "strict", "bound", None, 86400),
    (None, "100000", "strict", "bound", 604800, 100000),
]
"""The table of docs/reference.md, and its corners; each row is judged by the API server's policy as
well."""
