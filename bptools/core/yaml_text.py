"""YAML with the scalars of YAML 1.2, as people mean them.

PyYAML reads YAML 1.1, in which `on:` is a key that is true, 5:50 is the number 350, 010 is 8, 2026-01-02 is
no text and 1e-4 is one. `yes` and `no` stay what they are there: files of other tools hold them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_SCALARS = (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO)", "tTfFyYnN"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
)


def load_yaml(data: bytes, real: Callable[[float, str], float]) -> Any:
    """Return what a YAML text says; real(value, as it is written) makes what is no whole number of it.

    Raises ValueError.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
        pass

    ours = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", *(name for name, _, _ in _SCALARS))}
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in ours]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for name, pattern, firsts in _SCALARS:
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"), list(firsts)
        )
    Loader.add_constructor(
        "tag:yaml.org,2002:float",
        lambda loader, node: real(loader.construct_yaml_float(node), node.value),
    )
    try:
        return yaml.load(data, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (AttributeError, IndexError, KeyError, TypeError):  # as of !!bool maybe
        raise ValueError("a value is not what its tag says, or a key is a list or a table") from None
