"""What each key of the cluster's configuration means, in one sentence: for the JSON Schema, which
editors show, and for docs/configuration.md.
"""

DESCRIPTIONS = {
    "defaults": "What holds where neither a namespace nor a pod says anything.",
    "defaults.inject": "Whether pods get a bound token; replace: only where Kubernetes mounts one.",
    "defaults.automount": "Whether the automounted token of Kubernetes may stay.",
    "defaults.audience": "The audience of the token; empty: the API server's own.",
    "defaults.expirationSeconds": "How long a token lives, in seconds. At most the floor's maximum.",
    "defaults.mountPath": "Where the token is mounted.",
    "locks": "What no namespace and no pod may exceed.",
    "locks.maxExpirationSeconds": "No token of boundtoken lives longer; null: no such limit.",
    "locks.allowedAudiences": "Any other audience is a bad value; null: every audience is allowed.",
    "locks.podOverrides": "denied: pods may only tighten what their namespace says.",
    "locks.enforceFloor": "The level that no namespace is below. It has no warn mode: preview first.",
    "locks.enforceFloorMaxExpirationSeconds": "The floor's maximum; null: that of its level.",
    "namespaces": "Which namespaces are left alone.",
    "namespaces.excluded": "Their pods are never changed and never refused.",
    "exemptions": "Whom enforcement does not concern; each use is counted and audited.",
    "exemptions.namespaces": "All pods of these namespaces.",
    "exemptions.usernames": "Requests of these users; never the pods of their Deployments.",
    "exemptions.serviceAccounts": "Pods of these accounts, as namespace/name.",
    "exemptions.runtimeClasses": "Pods of these runtime classes.",
    "tokenRequests": "Limits for tokens that people ask for, as by kubectl create token.",
    "tokenRequests.mode": "off, warn (by the webhook), or enforce (by a policy).",
    "tokenRequests.maxExpirationSeconds": "At most so long; a namespace's smaller maximum holds.",
    "legacySecrets": "New Secrets with tokens that never expire.",
    "legacySecrets.mode": "off, warn (by the webhook), or enforce (by a policy).",
    "apiAudiences": "The API server's own audiences; empty: learnt from boundtoken's own token.",
}
"""By the path of the key."""
