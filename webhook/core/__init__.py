"""What both webhooks share: reviews, views, annotations, the policy that holds. Pure: no network,
clock, disk or log.
"""
