"""Certificates: making, signing, reading. Pure but for the randomness of keys; `now` is always an argument."""
