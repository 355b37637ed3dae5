"""`boundtoken scan`: where a cluster, or a folder of manifests, stands. What is found is found by
`webhook/scanning`; here it is read, and printed in one of the formats.
"""
