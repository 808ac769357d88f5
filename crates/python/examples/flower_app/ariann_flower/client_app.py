"""A node: starts our owner role when Flower's scheduler says so. Weights and data never pass through Flower."""

from __future__ import annotations

import ariann
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ariann_flower import folder

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Take part until the server pauses or ends the training, over links of our own."""
    orders = message.content["ariann"]
    assert isinstance(orders, ConfigRecord)
    # A simulation numbers its nodes from 0; a real node says which owner it is.
    owner = int(context.node_config.get("owner", int(context.node_config.get("partition-id", 0)) + 1))
    report = ariann.federated.run(
        "owner",
        folder(context) / f"owner-{owner}.toml",
        server=str(orders["server"]),
        dealer=str(orders["dealer"]),
        progress=False,
    )
    metrics = MetricRecord({"owner": owner, "rounds": report["took_part"], "bytes": report["bytes"]})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
