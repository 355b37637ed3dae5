"""The mutating decisions: what a pod gets, and which annotations a pod template copies from its
workload. Pure: no network, clock, disk or log.
"""
