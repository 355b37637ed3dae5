"""Whether an installation and a workload work: each check judges what a door has seen. Pure."""
