"""Modules of PyTorch."""

import ariann
import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.body = nn.Sequential(Block(), Block())
        self.drop = nn.Dropout(0.3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.drop(self.body(torch.relu(self.stem(x))))), 1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(2)
    module, x = Net(), torch.rand(200, 1, 12, 12)
    with torch.no_grad():
        module(x)  # statistics
    return module.eval(), x


def test_a_module_predicts_as_in_float(net):
    module, x = net
    module.train()
    model = ariann.compile(module, x)
    assert module.training
    module.eval()
    with torch.no_grad():
        expected = module(x[:8])
    logits = model.predict(x[:8], progress=False)
    assert isinstance(logits, torch.Tensor) and not logits.requires_grad
    assert (logits - expected).abs().max() < 0.01
    for given in (x[:8].double(), x[:8].bfloat16(), x[:8].clone().requires_grad_(), x[:8].mT.contiguous().mT):
        close = 0.02 if given.dtype == torch.bfloat16 else 0.01
        assert (model.simulate(given) - expected).abs().max() < close
    assert isinstance(model.simulate(x[:8].numpy()), np.ndarray)
    with pytest.raises(ariann.errors.DtypeError):
        model.predict(torch.zeros(1, 1, 12, 12, dtype=torch.complex64))


def test_layers_have_the_names_of_the_module(net):
    module, x = net
    names = [gate["name"] for gate in ariann.compile(module, x).cost().gates]
    for name in ("stem", "body.0.conv", "body.1.conv", "body.1/Relu", "pool", "head"):
        assert name in names, names


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.memory = nn.GRU(4, 4, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        seen, _ = self.memory(self.first(x)[:, None])
        return self.last(torch.cumsum(seen[:, 0], 1))


def test_all_unsupported_modules_are_named_by_their_paths():
    x = torch.rand(20, 4)
    for call in (lambda: ariann.compile(Recurrent(), x), lambda: ariann.fit(Recurrent(), x, torch.zeros(20).long())):
        with pytest.raises(ariann.errors.UnsupportedError) as caught:
            call()
        assert "memory/GRU" in str(caught.value) and "CumSum" in str(caught.value)
        assert caught.value.code == 3


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 2)

    def forward(self, x):
        return self.line(x) if float(x.sum()) > 0 else -self.line(x)


class Frozen(Deciding):
    def forward(self, x):
        return self.line(x) * float(torch.from_numpy(np.abs(x.detach().numpy())).mean())


def test_what_python_decides_is_refused():
    with pytest.raises(ariann.errors.UnsupportedError):
        ariann.compile(Deciding(), torch.rand(20, 4))
    with pytest.raises(ariann.errors.UnsupportedError):
        ariann.compile(Frozen(), torch.rand(20, 4))
    with pytest.raises(ariann.errors.InputError, match="does not take the sample"):
        ariann.compile(nn.Linear(4, 2), torch.rand(20, 5))


def trainable(x, classes=3):
    return (x.flatten(1).sum(1) * 7).long() % classes


def test_training_moves_statistics_and_keeps_dropout(net):
    module, x = net
    module = Net()
    module.load_state_dict(net[0].state_dict())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    reply, report = ariann.fit(
        module, x, trainable(x), optimizer={"lr": 0.05}, batch=20, epochs=1, ring=64, with_report=True
    )
    assert reply is module and report.document["steps"] == 10
    after = module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"stem.weight", "head.bias", "body.0.norm.weight", "body.0.norm.running_mean"} <= moved
    assert sum("ropout" in str(layer) for layer in module.children()) == 1


def test_layers_are_frozen_by_requires_grad(net):
    module, x = Net(), net[1]
    module.load_state_dict(net[0].state_dict())
    for parameter in (*module.stem.parameters(), *module.body.parameters()):
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ariann.fit(module, x, trainable(x), optimizer={"lr": 0.05}, batch=50)
    after = module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}
    module.head.weight.requires_grad_(False)
    with pytest.raises(ariann.errors.OperatorError, match="head"):
        ariann.fit(module, x, trainable(x))


def test_dropout_of_channels_is_refused(net):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout2d(0.1), nn.Flatten(), nn.Linear(200, 3))
    with pytest.raises(ariann.errors.UnsupportedError, match=r"1 \(Dropout2d\)"):
        ariann.fit(module, net[1], trainable(net[1]))


def line(*more):
    return nn.Sequential(nn.Linear(4, 3), *more)


def test_modules_of_other_floats():
    x = torch.rand(40, 4, dtype=torch.float64)
    module = line().double()
    with torch.no_grad():
        assert (ariann.compile(module, x).simulate(x[:5]) - module(x[:5])).abs().max() < 0.01
    assert module[0].weight.dtype == torch.float64
    before = module[0].weight.clone()
    trained = ariann.fit(module, x, trainable(x), batch=20, optimizer={"lr": 0.1})
    assert trained is module and module[0].weight.dtype == torch.float64 and not torch.equal(module[0].weight, before)
    ariann.compile(line().half(), x)


def test_a_last_softmax_is_left_to_the_receiver():
    x = torch.rand(40, 4)
    for last, apply in ((nn.Softmax(1), torch.softmax), (nn.LogSoftmax(1), torch.log_softmax)):
        module = line(last)
        with torch.no_grad():
            assert (apply(ariann.compile(module, x).simulate(x[:5]), 1) - module(x[:5])).abs().max() < 0.01


class Naming(Deciding):
    def forward(self, x):
        return {"logits": self.line(x)}


def test_what_else_is_refused(capfd):
    x = torch.rand(40, 4)
    with pytest.raises(ariann.errors.UnsupportedError, match="returns a dict"):
        ariann.compile(Naming(), x)
    with pytest.raises(ariann.errors.InputError, match="meta"):
        ariann.compile(line().to("meta"), x)
    with pytest.raises(ariann.errors.DtypeError, match="dense"):
        ariann.compile(line(), x.to_sparse())
    with pytest.raises(ariann.errors.DtypeError, match="NoneType"):
        ariann.compile(line(), x).predict(None)
    with pytest.raises(ariann.errors.InputError, match="does not take the sample"):
        ariann.compile(nn.Linear(5, 3), x)
    # PyTorch's own log stays silent.
    assert capfd.readouterr().err == ""
