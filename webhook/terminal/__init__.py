"""What commands show on a terminal, made from values: versions, completion and pages of help.
Pure, as the packages that decide: no network, clock, disk or log.
"""
