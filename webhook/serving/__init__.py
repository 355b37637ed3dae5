"""The front door: TLS and HTTP, the loops that keep it fresh, and all wiring. Uses core, cluster
and pki; the CLI uses it.
"""
