"""The scheduler's side: every round of Flower is one round of our server, which sums updates that it cannot read."""

from __future__ import annotations

import contextlib
import json
import time

import ariann
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from ariann_flower import folder

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Tell all nodes where the server and the dealer are, round by round."""
    here, dealer_at = folder(context), str(context.run_config.get("dealer", ""))
    listen = str(context.run_config.get("listen", "127.0.0.1:0"))
    federation = json.loads((here / "federation.json").read_text())
    owners = len(federation["owners"])
    for number in range(1, federation["rounds"] + 1):
        with contextlib.ExitStack() as roles:
            # The dealer must not collude with the server: here, on one machine, for a trial only.
            address = dealer_at or roles.enter_context(ariann.federated.Dealer(here / "dealer.toml")).address
            server = roles.enter_context(
                ariann.federated.Server(here / "server.toml", dealer=address, listen=listen, until=number, least=owners)
            )
            while len(nodes := list(grid.get_node_ids())) < owners:
                time.sleep(0.5)
            orders = ConfigRecord({"server": server.address, "dealer": address})
            messages = [
                Message(RecordDict({"ariann": orders}), dst_node_id=node, message_type="train") for node in nodes
            ]
            replies = list(grid.send_and_receive(messages))
            failed = [reply.error.reason for reply in replies if reply.has_error()]
            report = server.wait(600)
        accuracy = (report["accuracies"] or [None])[-1]
        told = f"accuracy {100 * accuracy:.1f} %" if accuracy is not None else "no accuracy is revealed"
        print(f"round {number}: {len(replies) - len(failed)} owners, {told}", *failed, flush=True)
