"""The decision, as values: bytes in, verdict out. No network, clock, disk, randomness or log; imports only msgspec."""
