"""Private prediction between two machines, with a dealer on a third.

Without arguments all of it happens on this machine. On three machines, each role in a folder of its own:

    python two_machines.py identity dealer        # on each machine with its own role; prints the fingerprint
    python two_machines.py plan plan.json         # P0, who has the model; the plan is public: dealer and P1 get a copy
    python two_machines.py dealer plan.json --server FP-OF-SERVER --client FP-OF-CLIENT --listen 0.0.0.0:7100
    python two_machines.py server plan.json --client FP-OF-CLIENT --dealer d.example:7100 FP-OF-DEALER \
        --listen 0.0.0.0:7101
    python two_machines.py client plan.json --server p0.example:7101 FP-OF-SERVER --dealer d.example:7100 FP-OF-DEALER
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import ariann
import bundled

ITEMS, BATCH = 100, 50


def here(base: Path) -> None:
    """Play all roles, each with a folder of its own."""
    me = {role: ariann.Identity.new(base / role, role) for role in ("dealer", "server", "client")}
    pin = {role: identity.fingerprint for role, identity in me.items()}
    model = ariann.compile(bundled.MODEL, bundled.images("train")[0][:500])
    plan = base / "plan.json"
    model.save_plan(plan)
    with ariann.Dealer(
        plan, identity=me["dealer"], server=pin["server"], client=pin["client"], count=ITEMS, state=base / "dealer"
    ) as dealer:
        at = (dealer.address, pin["dealer"])
        with ariann.Server(
            model, identity=me["server"], client=pin["client"], dealer=at, state=base / "server" / "state"
        ) as server:
            address = (server.address, pin["server"])
            predict(plan, me["client"], address, at, base / "client" / "state")


def predict(plan: Path, identity: ariann.Identity, server: ariann.Remote, dealer: ariann.Remote, state: Path) -> None:
    """Be the client."""
    images, labels = bundled.images("test")
    with ariann.Client(plan, identity=identity, server=server, dealer=dealer, state=state, batch=BATCH) as client:
        first = client.predict(images[: ITEMS // 2])
        second = client.predict(images[ITEMS // 2 : ITEMS])  # of the material that is left
        right = (first.argmax(1) == labels[: ITEMS // 2]).sum()
        right += (second.argmax(1) == labels[ITEMS // 2 : ITEMS]).sum()
        print(f"{right} of {ITEMS} private predictions are right; slots left: {client.slots_left()}")


def main() -> None:
    """Be the role that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role")
    roles.add_parser("identity").add_argument("name")
    roles.add_parser("plan").add_argument("plan", type=Path)
    for role in ("dealer", "server", "client"):
        sub = roles.add_parser(role)
        sub.add_argument("plan", type=Path)
        if role != "client":
            sub.add_argument("--listen", default="127.0.0.1:0")
            sub.add_argument("--client", required=True)
        if role == "dealer":
            sub.add_argument("--server", required=True)
        if role == "client":
            sub.add_argument("--server", nargs=2, required=True, metavar=("ADDRESS", "FINGERPRINT"))
        if role != "dealer":
            sub.add_argument("--dealer", nargs=2, required=True, metavar=("ADDRESS", "FINGERPRINT"))
    args = parser.parse_args()
    if args.role is None:
        with tempfile.TemporaryDirectory() as folder:
            here(Path(folder))
    elif args.role == "identity":
        print(ariann.Identity.new(".", args.name).fingerprint)
    elif args.role == "plan":
        ariann.compile(bundled.MODEL, bundled.images("train")[0][:500]).save_plan(args.plan)
    elif args.role == "client":
        me = ariann.Identity.load(".", "client")
        predict(args.plan, me, tuple(args.server), tuple(args.dealer), Path("state"))
    elif args.role == "dealer":
        me = ariann.Identity.load(".", "dealer")
        with ariann.Dealer(
            args.plan, identity=me, server=args.server, client=args.client, count=ITEMS, state=".", listen=args.listen
        ) as dealer:
            print("listening at", dealer.address, flush=True)
            dealer.wait()
    else:
        me = ariann.Identity.load(".", "server")
        with ariann.Server(
            bundled.MODEL, plan=args.plan, identity=me, client=args.client, dealer=tuple(args.dealer), state="state",
            listen=args.listen,
        ) as server:  # fmt: skip
            print("listening at", server.address, flush=True)
            server.wait()


if __name__ == "__main__":
    main()
