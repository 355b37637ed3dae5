"""The API server as we see it: who we are, how to call it, and the cache of namespaces. Uses
core, nothing above.
"""
