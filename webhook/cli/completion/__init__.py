"""Completion in shells: the scripts, and what they and kubectl ask for."""
