"""The API server as an issuer whose tokens outside services verify."""
