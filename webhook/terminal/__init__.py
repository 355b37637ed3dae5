"""What commands show on a terminal, worked out from values: versions, completion and pages of help.
Pure, as the rooms that decide: no network, clock, disk or log.
"""
