"""The API server as we see it: who we are, how to call it, and the picture of the namespaces. Uses
core, nothing above.
"""
