"""The names and limits of our annotations, volumes and objects, and those of Kubernetes that we
depend on.

The decisions of core, mutation and enforcement spell no such name themselves; they import it from
here. The apiVersion of the configuration, metrics, options and Secret keys are defined where they
are used.
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
# A label of namespaces that earlier releases wrote; it has no effect any more
LEFTOVER_LABEL: Final = DOMAIN + "enforced"
STATUS: Final = DOMAIN + "status"  # we write it on pods that we changed
# We write it on pod templates that we copied annotations into
FROM_WORKLOAD: Final = DOMAIN + "from-workload"
# `boundtoken inject` writes it into manifests in JSON, where no comment can remember what was there
BEFORE_INJECT: Final = DOMAIN + "before-inject"

FOR_PODS: Final = frozenset(
    {INJECT, AUTOMOUNT, AUDIENCE, EXPIRATION_SECONDS, MOUNT_PATH, TOKENS, SKIP_CONTAINERS}
)
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
OURS_ON_PODS: Final = frozenset({STATUS, FROM_WORKLOAD, BEFORE_INJECT})

# Annotations of the policy bindings: the settings of the configuration that the API server
# enforces. Lists are separated by one space, because no item may contain one. The locks have the
# same names as on namespaces.
ENFORCE_FLOOR: Final = DOMAIN + "enforce-floor"
ENFORCE_FLOOR_MAX_EXPIRATION_SECONDS: Final = DOMAIN + "enforce-floor-max-expiration-seconds"
API_AUDIENCES: Final = DOMAIN + "api-audiences"
EXCLUDED_NAMESPACES: Final = DOMAIN + "excluded-namespaces"
EXEMPT_NAMESPACES: Final = DOMAIN + "exempt-namespaces"
EXEMPT_USERNAMES: Final = DOMAIN + "exempt-usernames"
EXEMPT_SERVICE_ACCOUNTS: Final = DOMAIN + "exempt-service-accounts"
EXEMPT_RUNTIME_CLASSES: Final = DOMAIN + "exempt-runtime-classes"
TOKEN_REQUESTS: Final = DOMAIN + "token-requests"
TOKEN_REQUESTS_MAX_EXPIRATION_SECONDS: Final = DOMAIN + "token-requests-max-expiration-seconds"
LEGACY_SECRETS: Final = DOMAIN + "legacy-secrets"
CONFIG_DIGEST: Final = DOMAIN + "config-digest"
# The text of the configuration, for replicas that start under a bad one; on POD_POLICY only
CONFIGURATION: Final = DOMAIN + "configuration"

# core/v1 MirrorPodAnnotationKey; the kubelet sets it
MIRROR_POD: Final = "kubernetes.io/config.mirror"

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"  # core/v1 LastAppliedConfigAnnotation; client-side apply

LEGACY_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105  (core/v1 SecretTypeServiceAccountToken)

NAMESPACE: Final = "boundtoken-system"  # manifests/kustomization.yaml
# Deployment, Service, service account, webhook configuration, Secret prefix
APP: Final = "boundtoken"
# The key of the ConfigMap, and the labels by which it is found under any name
CONFIG_KEY: Final = "config.yaml"
CONFIG_LABELS: Final = {
    "app.kubernetes.io/name": APP,
    "app.kubernetes.io/component": "configuration",
}
POD_POLICY: Final = APP + "-pods"  # policies and their bindings share their names
TOKEN_REQUEST_POLICY: Final = APP + "-token-requests"
LEGACY_SECRET_POLICY: Final = APP + "-legacy-secrets"
MISPLACED_POLICY: Final = APP + "-misplaced"  # has no settings: manifests/90-misplaced.yaml
POLICY_BINDINGS: Final = (POD_POLICY, TOKEN_REQUEST_POLICY, LEGACY_SECRET_POLICY)
# Our service account creates pods in a dry run only: manifests/80-validatingadmissionpolicy.yaml
SELF_PROBE_POLICY: Final = APP + "-self-probe"
SELF_PROBE: Final = SELF_PROBE_POLICY + "-"  # the generateName of the pod that a replica asks for
NEVER_TOUCHED: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})

VOLUME: Final = "boundtoken"
TOKENS_VOLUME: Final = "boundtoken-tokens"
# plugin/pkg/admission/serviceaccount ServiceAccountVolumeName
AUTOMOUNTED_PREFIX: Final = "kube-api-access-"
# The same plugin, DefaultAPITokenMountPath
DEFAULT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKENS_PATH: Final = "/var/run/secrets/boundtoken.dev/tokens"
TOKEN_FILE: Final = "token"  # noqa: S105  (a file name)
ROOT_CA_CONFIGMAP: Final = "kube-root-ca.crt"
# 0644: below it, images with a non-root user of their own could not read the token
DEFAULT_MODE: Final = 420

DEFAULT_EXPIRATION_SECONDS: Final = 3600  # ours, if no annotation or configuration sets another
# The API server's default for a source or TokenRequest without one (core/v1 and authentication/v1
# defaults.go). It does not depend on ours, which happens to be the same.
API_DEFAULT_EXPIRATION_SECONDS: Final = 3600
MIN_EXPIRATION_SECONDS: Final = 600  # core/v1 validation of ServiceAccountTokenProjection
MAX_EXPIRATION_SECONDS_LIMIT: Final = 1 << 32  # the same validation
# pkg/serviceaccount WarnOnlyBoundTokenExpirationSeconds: becomes one year
YEAR_TRAP_SECONDS: Final = 3607
YEAR_TRAP_REPLACEMENT: Final = 3600  # what we write instead of 3607
# pkg/serviceaccount/claims.go ExpirationExtensionSeconds; seen on 1.37
YEAR_SECONDS: Final = 31_536_000
# At 600 s a real kubelet replaced the file 516 to 555 s after issue: too close
COMFORTABLE_SECONDS: Final = 900
# Ours: the API server has no limit, a token travels in headers of about 8 KiB
MAX_AUDIENCE_CHARS: Final = 512
INVISIBLE: Final = (
    (0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x61C, 0x61C), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200F),
    (0x2028, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFF), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""What no audience may contain: blanks, control characters, invisible marks, by code point. Why no
Unicode class: the characters of \\p{C} differ between releases of Go, and so between API
servers."""
# Printable ASCII, which the webhook and the policies show alike
DISPLAYED_AUDIENCE: Final = "[!-~]{1,200}"
# Ours: about a hundred URLs; the API server's policy reads the list for each pod
MAX_AUDIENCE_LIST_CHARS: Final = 8192
# Of all annotations of ours together: apimachinery TotalAnnotationSizeLimitB, which the API server
# checks only after admission
MAX_ANNOTATIONS_CHARS: Final = 256 << 10
MAX_ANNOTATIONS: Final = 256  # ours on a pod or a workload: there are ten names
# Further tokens of a pod: each is a TokenRequest of its node every few minutes
MAX_TOKENS: Final = 64
MAX_CONTAINER_NAMES: Final = 1024  # to skip: more containers than any pod has
MAX_OPERATIONS: Final = 512  # changes of the mounts of one pod: two for each of 250 containers
MAX_FAULTS: Final = 32  # told of one object; twice what warnings have room for
# Names that are looked up for "did you mean": each costs as much as a whole review
MAX_GUESSES: Final = 4
MAX_LISTED: Final = 10  # audiences in one sentence
MAX_PATH_BYTES: Final = 4095  # PATH_MAX of Linux, less the byte that ends it
MAX_VOLUME_NAME_CHARS: Final = 63  # a DNS label; reviews come before the API server looks
MAX_FILE_NAME_CHARS: Final = 255  # NAME_MAX of Linux
MAX_MEMORY_CHARS: Final = 512  # ours: twice the longest that any release writes into from-workload
MAX_WARNING_CHARS: Final = 256  # the API server truncates longer ones once all together pass 4096
# Of one audit annotation: log shippers cut lines at 16 KiB, and others stand beside it
MAX_AUDIT_BYTES: Final = 8000
# 16 * 256 = 4096, apiserver/pkg/endpoints/filters/warning.go; the last says how many more
MAX_WARNINGS: Final = 15
