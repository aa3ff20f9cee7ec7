"""What is asked of both brokers. A scenario is a function of one broker; it runs against each on its own."""

import importlib

from brokers import Broker

MODULES = (
    "connections",
    "topics",
    "metadata",
    "produce",
    "rewritten",
    "fetch",
    "offsets",
    "groups",
    "commits",
    "configs",
    "admin",
    "cluster",
    "mutations",
    "limits",
)


def all_of_them(modules: tuple[str, ...] = MODULES) -> dict[str, object]:
    """By name: the public functions of the modules that take a broker alone, and those that a module makes."""
    found = {}
    for module in modules:
        imported = importlib.import_module(f"scenarios.{module}")
        found |= {f"{module}-{name}": value for name, value in getattr(imported, "MADE", {}).items()}
        for name, value in vars(imported).items():
            parameters = list(getattr(value, "__annotations__", {}).items())
            if not name.startswith("_") and parameters[:1] == [("broker", Broker)] and len(parameters) == 2:
                found[f"{module}-{name}"] = value
    return found
