"""The API server: our credentials, the client, the watches and the caches. It imports no room but
core.
"""
