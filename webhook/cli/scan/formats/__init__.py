"""The formats of a scan: a module each, with a function that makes the text of a report."""
