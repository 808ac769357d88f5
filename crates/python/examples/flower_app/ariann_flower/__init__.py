"""A Flower app whose nodes are owners of a private federated training."""

from __future__ import annotations

import os
from pathlib import Path

from flwr.app import Context


def folder(context: Context) -> Path:
    """Return where this node's files are, by its configuration, or the app's, or the environment in a simulation."""
    for config in (context.node_config, context.run_config):
        if "folder" in config:
            return Path(str(config["folder"]))
    return Path(os.environ.get("ARIANN_FEDERATION", "federation"))
