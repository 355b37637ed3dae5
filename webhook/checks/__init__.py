"""Whether an installation and a workload work: each check judges what `cli.check` read. Pure."""
