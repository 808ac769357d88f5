"""The Flower app of the examples, with a scheduler in this process in place of Flower's engine."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ariann
import pytest

pytest.importorskip("flwr")
sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "flower_app"))


class Scheduler:
    """Hands messages to the ClientApp, all nodes at once, as Flower's engine does."""

    def __init__(self, app, folder, nodes):
        self.app, self.folder, self.nodes, self.replies = app, folder, nodes, []

    def get_node_ids(self):
        return [100 + node for node in range(self.nodes)]

    def send_and_receive(self, messages):
        from flwr.app import Context, RecordDict

        def answer(message):
            node = {"partition-id": message.metadata.dst_node_id - 100}
            return self.app(
                message, Context(1, message.metadata.dst_node_id, node, RecordDict(), {"folder": self.folder})
            )

        with ThreadPoolExecutor(self.nodes) as pool:
            replies = list(pool.map(answer, messages))
        self.replies += replies
        return replies


@pytest.fixture
def task(monkeypatch):
    """Messages are stamped with the task that Flower's runtime has started."""
    identity = pytest.importorskip("flwr.supercore.task_identity").TaskIdentity
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(identity, name, 1)


@pytest.mark.usefixtures("task")
def test_every_node_takes_part_in_every_round(tmp_path, capsys):
    from ariann_flower.client_app import app as client_app
    from ariann_flower.server_app import app as server_app
    from flwr.app import Context, RecordDict

    ariann.federated.prepare(tmp_path, owners=2, rounds=2, threshold=2)
    scheduler = Scheduler(client_app, str(tmp_path), 2)
    server_app(
        scheduler, Context(1, 0, {}, RecordDict(), {"folder": str(tmp_path), "dealer": "", "listen": "127.0.0.1:0"})
    )
    metrics = [reply.content["metrics"] for reply in scheduler.replies]
    assert sorted(of["owner"] for of in metrics) == [1, 1, 2, 2]
    assert all(of["rounds"] == 1 and of["bytes"] > 0 for of in metrics)
    told = capsys.readouterr().out
    assert "round 1: 2 owners, accuracy" in told and "round 2: 2 owners, accuracy" in told
