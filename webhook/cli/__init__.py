"""The command for people: flags in, results on standard output, everything said about them on
standard error.
"""
