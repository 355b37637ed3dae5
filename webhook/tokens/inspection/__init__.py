"""Tokens that somebody looks at: found in files, described, verified."""
