"""Where a cluster stands: every token that pods and templates hold or would hold, and what to do
about it. Pure: it is fed typed objects, and judges them by the webhook's own code.
"""
