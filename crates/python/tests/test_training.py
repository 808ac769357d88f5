"""Training."""

import ariann
import numpy as np
import pytest
from ariann.training import _optimizer


def network(hidden=32):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    layers = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)
    )
    return torch, layers


def test_a_module_comes_back_trained(images, labels):
    torch, module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    trained, report = ariann.fit(
        module, images[0], labels[0], loss=torch.nn.CrossEntropyLoss(), optimizer=optimizer, epochs=3, batch=20,
        calibration=(images[0][:100], labels[0][:100]), test=(images[1], labels[1]), reveal=("loss", "accuracy"),
        compare_clear=True, with_report=True,
    )  # fmt: skip
    assert trained is module
    assert all((module.state_dict()[name] != value).any() for name, value in before.items())
    assert len(report.epochs) == 3 and report.losses[-1] < report.losses[0]
    with torch.no_grad():
        predicted = module(torch.from_numpy(images[1])).argmax(1).numpy()
    assert np.mean(predicted == labels[1]) == pytest.approx(report.epochs[-1]["accuracy"], abs=0.051)


def test_frozen_parameters_stay(images, labels):
    torch, module = network()
    module[1].weight.requires_grad_(False)
    module[1].bias.requires_grad_(False)
    before = module[1].weight.clone()
    ariann.fit(module, images[0][:40], labels[0][:40], optimizer={"lr": 0.05}, batch=20)
    assert torch.equal(module[1].weight, before)


def test_what_is_refused(images, labels):
    data, classes = images[0], labels[0]
    for wrong in (classes[:-1], classes.astype(float), -classes - 1):
        with pytest.raises((ariann.errors.InputError, TypeError)):
            ariann.fit(b"", data, wrong)
    for optimizer in ({"lr": 0.1, "betas": 1}, object()):
        with pytest.raises(ariann.errors.OperatorError):
            _optimizer(optimizer)
    with pytest.raises(ariann.errors.OperatorError):
        ariann.fit(b"x", data, classes, loss=object())
