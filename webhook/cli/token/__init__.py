"""`boundtoken token`: one module for each command; `arguments` has their flags. What they do is in
`webhook.tokens`.
"""
