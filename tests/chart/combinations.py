"""Values of the chart that people combine, by what they are for."""

from typing import Any

ISSUER = {"name": "platform", "kind": "ClusterIssuer"}
TOLERATION = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}
AFFINITY = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "boundtoken"}},
            }
        ]
    }
}
CONFIGURATION: dict[str, Any] = {
    "apiVersion": "boundtoken.dev/v1alpha1",
    "kind": "Configuration",
    "defaults": {"inject": "replace", "automount": "disabled", "expirationSeconds": 1800},
    "locks": {"maxExpirationSeconds": 31536000, "allowedAudiences": ["vault"]},
    "namespaces": {"excluded": ["cilium-system"]},
    "exemptions": {"usernames": ["system:serviceaccount:kube-system:daemon-set-controller"]},
    "apiAudiences": ["https://kubernetes.default.svc"],
}
HOST_NETWORK = {"hostNetwork": True, "listen": {"tlsPort": 10350}}
"""Refused by Pod Security, whatever else is chosen."""
HA = "values-ha.yaml"

COMBINATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one replica": {"replicas": 1},
    "no replica": {"replicas": 0},
    "an autoscaler": {"replicas": None, "podDisruptionBudget": {"minAvailable": "50%"}},
    "an outage at each rollout": {"strategy": {"type": "Recreate"}},
    "a percentage": {"replicas": 5, "podDisruptionBudget": {"maxUnavailable": "40%"}},
    "a registry": {
        "image": {"repository": "registry.example.com:5000/team/boundtoken", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "a digest": {"image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"}},
    "a configuration": {"config": CONFIGURATION},
    "no configuration": {"config": None},
    "a section that is null": {"config": {"exemptions": None, "locks": None}},
    "flags": {
        "options": {
            "logLevel": "debug",
            "namespaceMetrics": True,
            "caDuration": "90d",
            "leafDuration": "24h",
            "drainSeconds": 12.5,
        }
    },
    "no drain": {"options": {"drainSeconds": None}, "terminationGracePeriodSeconds": 10},
    "arguments and variables": {
        "extraArgs": ["--of-a-newer-release=on"],
        "env": [{"name": "TZ", "value": "UTC"}],
    },
    "cert-manager": {"certificates": {"mode": "cert-manager"}},
    "cert-manager with an issuer": {
        "certificates": {"mode": "cert-manager", "issuerRef": ISSUER, "secretName": "serving"}
    },
    "a Secret": {
        "certificates": {
            "mode": "secret",
            "secretName": "serving",
            "webhookAnnotations": {"cert-manager.io/inject-ca-from-secret": "pki/root"},
        }
    },
    "legacy tokens": {"legacyTokens": {"enabled": True}},
    "legacy tokens that fail closed": {"legacyTokens": {"enabled": True, "failClosed": True}},
    "no network policy": {"networkPolicy": {"enabled": False}},
    "a narrow network policy": {
        "networkPolicy": {
            "controlPlane": ["192.0.2.10/32", "2001:db8::/64"],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
            "apiServer": {"ports": [6443], "networks": ["192.0.2.0/24"]},
            "dns": False,
        }
    },
    "metrics for one": {"networkPolicy": {"metricsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    "monitoring": {
        "monitoring": {
            "scrapeTimeout": "10s",
            "labels": {"release": "prom"},
            "podMonitor": {"enabled": True},
            "prometheusRule": {
                "enabled": True,
                "disabled": ["BoundtokenYearLongTokens"],
                "additionalLabels": {"team": "platform"},
                "additionalAnnotations": {
                    "dashboard_url": "https://grafana.example.com/d/boundtoken"
                },
                "runbooks": "https://wiki.example.com/ALERT.html",
            },
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Security"}},
        }
    },
    "monitoring by a Service": {"monitoring": {"serviceMonitor": {"enabled": True}}},
    "a class of its own": {
        "priorityClass": {"name": "boundtoken", "create": True, "value": 100000000}
    },
    "no class": {"priorityClass": {"name": ""}},
    "a flow schema": {"flowSchema": {"enabled": True}},
    "the host's network": HOST_NETWORK,
    "the host's network on the control plane": {
        **HOST_NETWORK,
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        "tolerations": [TOLERATION],
        "dnsPolicy": "Default",
    },
    "apart": {"affinity": AFFINITY, "topologySpreadConstraints": []},
    "IPv6": {"listen": {"address": "[::]"}},
    "other ports": {"listen": {"tlsPort": 8443, "plainPort": 9090}},
    "OpenShift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
    "no limit": {"resources": {"limits": None, "requests": {"cpu": "1"}}},
    "a slow start": {
        "startupProbe": {"failureThreshold": 300},
        "minReadySeconds": 5,
        "revisionHistoryLimit": 2,
        "strategy": {"rollingUpdate": {"maxSurge": "100%"}},
    },
    "labels and annotations": {
        "commonLabels": {"team": "platform"},
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "podAnnotations": {"prometheus.io/scrape": "true"},
        "deploymentAnnotations": {"reloader.example.com/auto": "true"},
    },
    "a proxy's bundle": {
        "extraVolumes": [{"name": "bundle", "configMap": {"name": "bundle"}}],
        "extraVolumeMounts": [{"name": "bundle", "mountPath": "/etc/bundle", "readOnly": True}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "runtimeClassName": "gvisor",
        "schedulerName": "bin-packing",
    },
    "the same label everywhere": {
        "commonLabels": {"team": "platform"},
        "podLabels": {"team": "security"},
        "monitoring": {"podMonitor": {"enabled": True}, "labels": {"team": "watchers"}},
    },
    "a part of another chart": {"global": {"registry": "x"}, "enabled": True},
    "three replicas": {HA: True},
    "as much as the API server takes": {
        "replicas": 2**31 - 1,
        "minReadySeconds": 599,
        "terminationGracePeriodSeconds": 2**53,
        "priorityClass": {"name": f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}"},
        "runtimeClassName": "kata.v2",
        "commonLabels": {f"{'a.b' * 84}c/{'N' * 63}": f"v{'_.-' * 20}0V", "empty": ""},
        "podLabels": {"a": "b"},
        "podAnnotations": {"Example.COM/a_B.c": "anything {{ goes"},
        "resources": {
            "requests": {"memory": "0.5Gi", "cpu": ".1", "ephemeral-storage": "1e3"},
            "limits": {"memory": "524288Ki", "cpu": "100m", "ephemeral-storage": 1000},
        },
        "strategy": {"rollingUpdate": {"maxUnavailable": "100%", "maxSurge": "300%"}},
    },
    "networks in every form": {
        "networkPolicy": {
            "controlPlane": ["10.0.0.4/30", "172.16.0.0/12", "0.0.0.0/0", "::/0", "1:2::/31"],
            "metricsFrom": [
                {"podSelector": {}},
                {"ipBlock": {"cidr": "fd00:1:2:3:4:5:6:7/128", "except": []}},
            ],
            "apiServer": {
                "networks": ["1::8/125", "fdab:c000::/18", "1:2:3:4:5:6:7:0/112", "::1/128"]
            },
        }
    },
    "variables and volumes of every kind": {
        "env": [
            {"name": "with a blank", "value": ""},
            {"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "extraVolumes": [{"name": "tls", "emptyDir": {}}],
        "extraVolumeMounts": [
            {"name": "tls", "mountPath": "/one"},
            {"name": "config", "mountPath": "/two", "readOnly": True},
        ],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.53"]},
        "options": {"leafDuration": None, "logLevel": None, "selfProbeInterval": None},
        "image": {"repository": "Registry.example.com:5000/a__b/c.d/e--f"},
        "listen": {"address": "::"},
    },
}
TOGETHER = (
    "a registry",
    "a configuration",
    "flags",
    "cert-manager",
    "legacy tokens that fail closed",
    "a narrow network policy",
    "monitoring",
    "a class of its own",
    "a flow schema",
    "apart",
    "other ports",
    "OpenShift",
    "a slow start",
    "labels and annotations",
    "a proxy's bundle",
)
COMBINATIONS["much at once"] = {
    key: value for name in TOGETHER for key, value in COMBINATIONS[name].items()
}
COMBINATIONS["much at once, three replicas"] = {**COMBINATIONS["much at once"], HA: True}
