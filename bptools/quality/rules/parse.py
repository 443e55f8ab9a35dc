"""What --rules says: items into limits and parameters."""

from __future__ import annotations

import math

from bptools.core.errors import UsageError
from bptools.core.suggesting import did_you_mean
from bptools.quality.rules.table import PARAMETERS, RULES, SETS, Parameter, Rule

_SWITCHES = {"on": True, "off": False}


def parse_spec(spec: list[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Return limits by rule and the parameters that were set. Raises UsageError as `parse_rules` says."""
    limits: dict[str, float] = {}
    parameters: dict[str, int] = {}
    for item in [part.strip() for given in spec for part in given.split(",")]:
        name, separator, value = (part.strip() for part in item.partition("="))
        if not separator and name in SETS:
            limits.update((rule, RULES[rule].default) for rule in SETS[name])
        elif name in RULES:
            if value == "off":
                if name not in limits:
                    raise UsageError(f"--rules {item}: no item before it chose {name}; put it after the set")
                del limits[name]
            else:
                limits[name] = _limit(RULES[name], value) if separator else RULES[name].default
        elif name in PARAMETERS:
            if not separator:
                raise UsageError(f"--rules {name}: give it a value, {name}={_shown(PARAMETERS[name])}")
            parameters[name] = _parameter(PARAMETERS[name], value)
        elif name in SETS:
            raise UsageError(f"--rules {item}: {name} is a set and has no value; name one of its rules")
        else:
            raise UsageError(f"--rules {item or repr(item)}: {_unknown(name)}")
    if not limits:
        raise UsageError(f"--rules chooses no rule; name a set: {', '.join(SETS)}")
    used = {RULES[name].set for name in limits}
    for name in parameters:
        if PARAMETERS[name].set not in used:
            raise UsageError(
                f"--rules {name}: it belongs to {PARAMETERS[name].set}, of which no rule is chosen"
            )
    return limits, parameters


def _unknown(name: str) -> str:
    sets = f"; name a set ({', '.join(SETS)}) or a rule of one"
    return f"unknown rule{did_you_mean(name, [*SETS, *RULES, *PARAMETERS], sets)}"


def _limit(rule: Rule, value: str) -> float:
    """Read a limit: a whole number where the rule counts, else a number; 0 or more."""
    if rule.name in ("lorem_ipsum", "curly_bracket"):
        raise UsageError(f"--rules {rule.name}={value}: it has no limit; choose it by its name, or off")
    counts = rule.default >= 1 and "avg" not in rule.name
    try:
        number: float = int(value) if counts else float(value)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        kind = "a whole number" if counts else "a number"
        raise UsageError(
            f"--rules {rule.name}={value}: it is {kind} of 0 or more, or off; {rule.default:g} by default"
        )
    return number


def _shown(parameter: Parameter) -> str:
    if isinstance(parameter.default, bool):
        return "on" if parameter.default else "off"
    return str(parameter.default)


def _parameter(parameter: Parameter, value: str) -> int:
    if isinstance(parameter.default, bool):
        if value not in _SWITCHES:
            raise UsageError(f"--rules {parameter.name}={value}: it is on or off")
        return _SWITCHES[value]
    try:
        number = int(value)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f"--rules {parameter.name}={value}: it is a whole number of 0 or more")
    return number
