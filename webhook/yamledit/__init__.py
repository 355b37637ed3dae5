"""YAML and JSON texts, changed where a value changes and nowhere else. It knows no terminal and no
Kubernetes.
"""
