"""One module for each client and server; it is named after the package that it imports."""
