"""Federated training."""

import threading

import ariann
import numpy as np
import pytest
from ariann import federated


def test_roles_play_a_prepared_federation_in_two_parts(tmp_path):
    files = federated.prepare(tmp_path, owners=2, rounds=2, threshold=2)
    assert sorted(files) == ["dealer", "federation", "owner-1", "owner-2", "server"]
    reports = []
    for until in (1, 2):
        with (
            federated.Dealer(files["dealer"]) as dealer,
            federated.Server(files["server"], dealer=dealer.address, until=until) as server,
        ):
            at = {"server": server.address, "dealer": dealer.address}
            owners = [
                threading.Thread(target=lambda n=n, at=at: reports.append(federated.run("owner", files[n], **at)))
                for n in ("owner-1", "owner-2")
            ]
            for owner in owners:
                owner.start()
            for owner in owners:
                owner.join(120)
            told = server.wait(30)
            assert told["paused"] == (until == 1) and len(told["accuracies"]) == until
    assert [report["took_part"] for report in reports] == [1] * 4


def test_a_module_learns_from_its_owners(images, labels):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    before = module[1].weight.clone()
    report = federated.simulate(
        module, images[0], labels[0], test=(images[1], labels[1]), owners=2, rounds=2, threshold=2, batch=20, lr=0.05
    )
    assert report.model is module and not torch.equal(module[1].weight, before)
    assert len(report.accuracies) == 2 and all(0 <= share <= 1 for share in report.accuracies)
    with torch.no_grad():
        right = (module(torch.from_numpy(images[1])).argmax(1).numpy() == labels[1]).mean()
    assert right == pytest.approx(report.accuracies[-1], abs=0.11)


def test_what_is_refused(images, labels, tmp_path):
    for wrong in (
        {"owners": 0},
        {"nothing": 1},
        {"config": tmp_path / "none.toml"},
        {"data": images[0]},
        {"data": images[0], "labels": labels[0]},
        {"model": b"x"},
    ):
        with pytest.raises(ariann.errors.OperatorError):
            federated.simulate(**wrong)
    with pytest.raises(ariann.errors.OperatorError):
        federated.run("other", {})
    with pytest.raises(ariann.errors.InputError):
        federated.simulate(data=images[0], labels=labels[0], test=(images[1] * np.nan, labels[1]))
