"""The server: TLS and HTTP, the loops that keep its data up to date, and the wiring. It may import
every package but cli.
"""
