"""The validating decisions: the rules for pods, templates and token requests, and their violations.
Pure: no network, clock, disk or log.
"""
