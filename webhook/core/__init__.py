"""What both webhooks share: reviews, views, annotations and policies. Pure: no network, clock, disk
or log.
"""
