"""The ValidatingAdmissionPolicies that are generated from the rules, and the annotations through
which they read the configuration. Pure: no network, clock, disk or log.
"""
