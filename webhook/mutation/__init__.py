"""What a pod is given, and what a pod template copies from its workload. Pure: no network, clock,
disk or log.
"""
