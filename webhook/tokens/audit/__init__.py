"""What the API server's audit log tells of tokens: the policy that records it, the trace of one
token, and a watch for unusual requests. `webhook.tokens` imports nothing of it.
"""
