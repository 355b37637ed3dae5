"""Certificates. `now` is always an argument; `rotation`, `store` and `replicas` call the API
server, the rest is pure.
"""
