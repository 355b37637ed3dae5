"""Certificates: what they are (`pem`), how they are made (`authority`), how a Secret holds the CAs
(`ca_secret`), when a step is due (`lifecycle`), and the loop that does it (`rotation`).

`now` is always an argument. `rotation`, `store` and `replicas` call the API server; the other
modules are pure.
"""
