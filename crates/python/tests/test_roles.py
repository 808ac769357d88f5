"""Roles of their own."""

import ariann
import numpy as np
import pytest
from conftest import ASSETS


@pytest.fixture
def identities(tmp_path):
    return {name: ariann.Identity.new(tmp_path / name, name) for name in ("dealer", "server", "client")}


def test_a_client_predicts_with_a_server(model, images, identities, tmp_path):
    plan = tmp_path / "plan.json"
    model.save_plan(plan)
    me = identities
    pins = {name: identity.fingerprint for name, identity in me.items()}
    dealer = ariann.Dealer(
        plan, identity=me["dealer"], server=pins["server"], client=pins["client"], count=20, state=tmp_path / "d"
    )
    with dealer:
        at = (dealer.address, pins["dealer"])
        server = ariann.Server(
            ASSETS / "fashion-cnn.onnx", plan=plan, identity=me["server"], client=pins["client"], dealer=at,
            state=tmp_path / "s",
        )  # fmt: skip
        with server:
            assert server.address and not dealer._ended.is_set()
            client = ariann.Client(
                plan, identity=me["client"], server=(server.address, pins["server"]), dealer=at, state=tmp_path / "c",
                batch=5,
            )  # fmt: skip
            with client:
                logits = client.predict(images[1][:10])
                assert np.abs(logits - model.simulate(images[1][:10])).max() < 0.1
                # What is left serves a second query.
                assert client.predict(images[1][10:15]).shape == (5, 10)
            with pytest.raises(ariann.errors.ClosedError):
                client.predict(images[1])
        with pytest.raises(ariann.errors.ClosedError):
            server.open()
        assert dealer.wait(30)["slots"] == 20


def test_a_server_that_is_killed_or_another_is_named(model, images, identities, tmp_path):
    me = identities
    pins = {name: identity.fingerprint for name, identity in me.items()}
    short = {"connect": 2, "silence": 5, "stall": 30}
    with ariann.Dealer(
        model, identity=me["dealer"], server=pins["server"], client=pins["client"], count=2000, state=tmp_path / "d"
    ) as dealer:
        at = (dealer.address, pins["dealer"])
        with ariann.Server(
            model, identity=me["server"], client=pins["client"], dealer=at, state=tmp_path / "s", deadlines=short
        ) as server:
            wrong = ariann.Client(
                model, identity=me["client"], server=(server.address, pins["dealer"]), dealer=at,
                state=tmp_path / "c", deadlines=short,
            )  # fmt: skip
            with wrong, pytest.raises(ariann.errors.OperatorError, match="pinned"):
                wrong.predict(images[1][:1])
            client = ariann.Client(
                model, identity=me["client"], server=(server.address, pins["server"]), dealer=at,
                state=tmp_path / "c", deadlines=short,
            )  # fmt: skip

            def kill(stage, done, _total):
                if stage == "predicting" and done > 2 and server._process.poll() is None:
                    server._process.kill()

            items = np.concatenate([images[1]] * 50)
            with client, pytest.raises(ariann.errors.PeerError) as caught:
                client.predict(items, progress=kill)
            assert caught.value.code == 4 and caught.value.remedy
            with pytest.raises(ariann.errors.MachineError):
                server.wait(10)


def test_a_dead_server_is_named(model, images, identities, tmp_path):
    me = identities
    client = ariann.Client(
        model, identity=me["client"], server=("127.0.0.1:9", me["server"].fingerprint), state=tmp_path / "c",
        deadlines={"connect": 0.5},
    )  # fmt: skip
    with client, pytest.raises(ariann.AriannError) as caught:
        client.predict(images[1][:1])
    assert caught.value.fault in ("peer", "operator") and caught.value.cause


def test_roles_that_cannot_start(model, identities, tmp_path):
    me = identities
    with pytest.raises(ariann.errors.OperatorError):
        ariann.Server("model.onnx", identity=me["server"], client="x", state=tmp_path)
    server = ariann.Server(model, identity=me["server"], client="not a fingerprint", state=tmp_path / "s")
    with pytest.raises(ariann.errors.OperatorError):
        server.open()
    with pytest.raises(ariann.errors.OperatorError):
        ariann.Client(tmp_path / "none", identity=me["client"], server=("x:1", "y"), state=tmp_path)
    with pytest.raises(ariann.AriannError):
        ariann.Identity.new(tmp_path / "client", "client")
    with pytest.raises(ariann.errors.ClosedError):
        server.wait()
    for wrong in ({"connect": 0}, {"other": 1}):
        with pytest.raises(ariann.errors.OperatorError):
            ariann.Client(
                model, identity=me["client"], server=("x:1", "y"), state=tmp_path, deadlines=wrong
            )  # fmt: skip


def test_identities_are_loaded_again(identities, tmp_path):
    assert ariann.Identity.load(tmp_path / "server", "server").fingerprint == identities["server"].fingerprint
