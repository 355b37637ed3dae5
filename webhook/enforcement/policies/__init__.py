"""The ValidatingAdmissionPolicies made of the rules, and the configuration that the API server
reads with them. Pure.
"""
