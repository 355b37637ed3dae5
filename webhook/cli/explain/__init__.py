"""`boundtoken explain`: what admission does with an object, and why."""
