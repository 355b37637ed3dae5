"""`boundtoken check`: whether an installation, a cluster before it, and a workload work."""
