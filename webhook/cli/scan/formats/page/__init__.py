"""What the page of a scan is made of: markup that escapes, the tables, the pictures, and the files
that a browser gets as they are.
"""
