"""The app in Flower's simulation engine: python simulate.py, in an environment with ariann and flwr[simulation]."""

from __future__ import annotations

import argparse
import os
import tempfile

import ariann
from ariann_flower.client_app import app as client_app
from ariann_flower.server_app import app as server_app
from flwr.simulation import run_simulation

OWNERS = 3


def main() -> None:
    """Prepare a federation of the bundled images, and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARIANN_FEDERATION"] = folder
        ariann.federated.prepare(folder, owners=OWNERS, rounds=rounds, threshold=2)
        run_simulation(
            server_app=server_app,
            client_app=client_app,
            num_supernodes=OWNERS,
            # All owners take part in a round at once.
            backend_config={"client_resources": {"num_cpus": 1.0 / OWNERS, "num_gpus": 0.0}},
        )


if __name__ == "__main__":
    main()
