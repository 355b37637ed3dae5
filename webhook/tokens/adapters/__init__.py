"""One module for each client and server. Importing one is what imports its package."""
