"""What pods, templates and token requests must comply with, and what is wrong there. Pure: no
network, clock, disk or log.
"""
