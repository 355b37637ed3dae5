"""`boundtoken help`: chapters of docs/reference.md as plain text, which `make topics` writes into
topics/.
"""
