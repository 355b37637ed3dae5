"""The configurations in a file that people give: the file itself, or the ConfigMaps in it.

A file with ConfigMaps may hold other objects too, as `kubectl kustomize` and `kubectl get -o yaml`
print them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .. import cluster_config, documents
from ..cluster_config import MAX_BYTES, ClusterConfiguration
from ..core import names
from ..core.text import quote
from ..errors import BadInput
from .input import read, title

MAX_FILE_BYTES = 1 << 20
"""Of a file with ConfigMaps: a rendered installation has 50 KB."""


class Source(NamedTuple):
    """One configuration: where it stands, for messages, and its text.

    `problem` says why there is no text.
    """

    where: str
    text: bytes
    problem: str = ""

    def parse(self, own_namespace: str = names.NAMESPACE) -> ClusterConfiguration:
        """The configuration.

        Raises: BadInput, with every fault, each with its place
        """
        try:
            if self.problem:
                raise BadInput(self.problem)
            return cluster_config.parse(self.text, own_namespace=own_namespace)
        except BadInput as problem:
            raise BadInput(*(f"{self.where}: {fault}" for fault in problem.faults)) from problem


def sources(file: str) -> list[Source]:
    """The configurations in a file, at least one; - is standard input.

    Of several ConfigMaps those count that have the labels of ours, or if none has them, those with
    the key config.yaml.

    Raises: BadInput, if the file cannot be read
    """
    name, content = title(file), read(file, MAX_FILE_BYTES)
    config_maps = [
        manifest for manifest in _objects(name, content) if manifest.get("kind") == "ConfigMap"
    ]
    if not config_maps:
        return [Source(name, content)]
    ours = [config_map for config_map in config_maps if _is_labelled(config_map)]
    if not ours:
        ours = [item for item in config_maps if names.CONFIG_KEY in _mapping(item, "data")]
    return [_source(name, item) for item in ours or config_maps[:1]]


def the_source(file: str) -> Source:
    """The one configuration in a file.

    Raises: BadInput, if the file cannot be read, or has several
    """
    found = sources(file)
    if len(found) > 1:
        places = ", ".join(source.where for source in found[:3])
        raise BadInput(f"{file}: must have one configuration, and has {len(found)}: {places}")
    return found[0]


def _objects(name: str, content: bytes) -> Iterator[dict[str, Any]]:
    """The Kubernetes objects in a file; none if it is no YAML or too long, which the parser of the
    configuration reports.
    """
    try:
        loaded = documents.load(content, MAX_FILE_BYTES)
    except BadInput as problem:
        if MAX_BYTES < len(content) <= MAX_FILE_BYTES:
            raise BadInput(f"{name}: {problem}") from problem
        return
    for document in loaded:
        if isinstance(document, dict):
            items = document.get("items") if document.get("kind") in _LISTS else None
            yield from (
                item
                for item in (items if isinstance(items, list) else [document])
                if isinstance(item, dict)
            )


_LISTS = ("List", "ConfigMapList")


def _mapping(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _is_labelled(config_map: dict[str, Any]) -> bool:
    labels = _mapping(_mapping(config_map, "metadata"), "labels")
    return (
        names.CONFIG_LABELS.items()
        <= {key: value for key, value in labels.items() if isinstance(value, str)}.items()
    )


def _source(file: str, config_map: dict[str, Any]) -> Source:
    name = str(_mapping(config_map, "metadata").get("name", ""))
    title = name if name.isprintable() and len(name) <= names.MAX_FILE_NAME_CHARS else quote(name)
    where = f"{file}: configmap/{title}"
    data = _mapping(config_map, "data")
    if names.CONFIG_KEY not in data:
        return Source(where, b"", f"data must have the key {names.CONFIG_KEY}")
    where, text = f'{where} data["{names.CONFIG_KEY}"]', data[names.CONFIG_KEY]
    if not isinstance(text, str):
        return Source(where, b"", "must be a string: write | after the key and indent the rest")
    return Source(where, text.encode())
