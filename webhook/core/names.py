"""Every name and limit that leaves the house: what users type, what pods carry, what Kubernetes counts by.

A name that stands in YAML, in a log or in an annotation is spelled here and nowhere else.
"""

from typing import Final

DOMAIN: Final = "boundtoken.dev/"

INJECT: Final = DOMAIN + "inject"
AUTOMOUNT: Final = DOMAIN + "automount"
AUDIENCE: Final = DOMAIN + "audience"
EXPIRATION_SECONDS: Final = DOMAIN + "expiration-seconds"
MOUNT_PATH: Final = DOMAIN + "mount-path"
TOKENS: Final = DOMAIN + "tokens"
SKIP_CONTAINERS: Final = DOMAIN + "skip-containers"
MAX_EXPIRATION_SECONDS: Final = DOMAIN + "max-expiration-seconds"
ALLOWED_AUDIENCES: Final = DOMAIN + "allowed-audiences"
POD_OVERRIDES: Final = DOMAIN + "pod-overrides"
ENFORCE: Final = DOMAIN + "enforce"
WARN: Final = DOMAIN + "warn"
AUDIT: Final = DOMAIN + "audit"
ENFORCE_VERSION: Final = ENFORCE + "-version"
WARN_VERSION: Final = WARN + "-version"
AUDIT_VERSION: Final = AUDIT + "-version"
ENFORCED: Final = DOMAIN + "enforced"  # a label: selectors see nothing else
STATUS: Final = DOMAIN + "status"  # we write it on pods that we injected
FROM_WORKLOAD: Final = DOMAIN + "from-workload"  # we write it on pod templates that we copied annotations into

FOR_PODS: Final = frozenset({INJECT, AUTOMOUNT, AUDIENCE, EXPIRATION_SECONDS, MOUNT_PATH, TOKENS, SKIP_CONTAINERS})
FOR_NAMESPACES: Final = (FOR_PODS - {SKIP_CONTAINERS}) | {
    MAX_EXPIRATION_SECONDS,
    ALLOWED_AUDIENCES,
    POD_OVERRIDES,
    ENFORCE,
    WARN,
    AUDIT,
    ENFORCE_VERSION,
    WARN_VERSION,
    AUDIT_VERSION,
}
OURS_ON_PODS: Final = frozenset({STATUS, FROM_WORKLOAD})

MIRROR_POD: Final = "kubernetes.io/config.mirror"  # core/v1 MirrorPodAnnotationKey; the kubelet sets it

LEGACY_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105  (core/v1 SecretTypeServiceAccountToken)

NAMESPACE: Final = "boundtoken-system"  # manifests/10-namespace.yaml
APP: Final = "boundtoken"  # Deployment, Service, service account, webhook configuration, Secret prefix
NEVER_TOUCHED: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})

VOLUME: Final = "boundtoken"
TOKENS_VOLUME: Final = "boundtoken-tokens"
AUTOMOUNTED_PREFIX: Final = "kube-api-access-"  # plugin/pkg/admission/serviceaccount ServiceAccountVolumeName
DEFAULT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # the same plugin, DefaultAPITokenMountPath
TOKENS_PATH: Final = "/var/run/secrets/boundtoken.dev/tokens"
TOKEN_FILE: Final = "token"  # noqa: S105  (a file name)
ROOT_CA_CONFIGMAP: Final = "kube-root-ca.crt"
DEFAULT_MODE: Final = 420  # 0644: below it, images with a non-root user of their own could not read the token

DEFAULT_EXPIRATION_SECONDS: Final = 3600
MIN_EXPIRATION_SECONDS: Final = 600  # core/v1 validation of ServiceAccountTokenProjection
MAX_EXPIRATION_SECONDS_LIMIT: Final = 1 << 32  # the same validation
YEAR_TRAP_SECONDS: Final = 3607  # pkg/serviceaccount WarnOnlyBoundTokenExpirationSeconds: becomes one year
COMFORTABLE_SECONDS: Final = 900  # at 600 s a real kubelet replaced the file 516 to 555 s after issue: too close
MAX_AUDIENCE_CHARS: Final = 512  # ours: the API server has no limit, a token travels in headers of about 8 KiB
MAX_FILE_NAME_CHARS: Final = 255  # NAME_MAX of Linux
MAX_WARNING_CHARS: Final = 256  # the API server truncates longer ones once all together pass 4096
MAX_WARNINGS: Final = 15  # 16 * 256 = 4096, apiserver/pkg/endpoints/filters/warning.go; the last says how many more
