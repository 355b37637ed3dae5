"""What admission would do with an object of a file or of a cluster: the webhook's own decisions.
Pure.
"""
