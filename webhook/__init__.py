"""boundtoken: short-lived, audience-bound service account tokens for pods."""

__version__ = "0.1.0"
