# %% [markdown]
# # AriaNN in a notebook
#
# The cells of `crates/python/examples/notebook.py`, executed by `python3 scripts/notebook.py`. Run it in `crates/python/examples`.

# %%
import ariann
import bundled
import numpy as np

public, public_labels = bundled.images("train")
private, labels = bundled.images("test")
private.shape, private.dtype

# %% [markdown]
# ## Private prediction
#
# P0 has a network, P1 has images. The sample is public: it sets the scales of the public plan.

# %%
model = ariann.compile(bundled.MODEL, public[:500])
model

# %% [markdown]
# What a run costs is known before anything is made.

# %%
model.cost(batch=100)

# %% [markdown]
# Dealer, P0 and P1 as three processes over TLS; the same fixed point in clear beside it.

# %%
logits = model.predict(private[:100])
simulated = model.simulate(private[:100])
print("accuracy", (logits.argmax(1) == labels[:100]).mean())
print("greatest difference from the simulation", np.abs(logits - simulated).max())
{role: f"{model.report[role]['peak_rss_bytes'] / 1e6:.0f} MB" for role in ("dealer", "p0", "p1")}

# %% [markdown]
# What does not fit is refused by name, with what to do about it.

# %%
try:
    model.predict(np.full((1, 1, 28, 28), np.nan))
except ariann.AriannError as error:
    print(type(error).__name__, error.code, "|", error.cause, "|", error.remedy)

# %% [markdown]
# ## Function secret sharing
#
# Keys of x < alpha for secret points; each party evaluates its key alone.

# %%
alpha = np.array([5, 5, 5, 2**40])
k0, k1 = ariann.fss.comparison(alpha=alpha, bits=63)
x = np.array([4, 5, 6, 7])
print(k0)
k0.eval(x), k1.eval(x), k0.eval(x) ^ k1.eval(x)

# %% [markdown]
# ## Federated learning
#
# Three owners train one model with a server; nobody shows data, nobody sees the model.

# %%
report = ariann.federated.simulate(owners=3, rounds=2, threshold=2)
report.accuracies, report.clear_accuracies

# %% [markdown]
# ## PyTorch
#
# Modules and tensors in, the same out. Layers have the names that the module gives them.

# %% torch
import torch
from torch import nn

torch.manual_seed(1)


class Net(nn.Module):
    """A convolution and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 5, 2)
        self.hidden = nn.Linear(1152, 64)
        self.classes = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        x = torch.relu(self.conv(x)).flatten(1)
        return self.classes(torch.relu(self.hidden(x)))


module = Net()
ariann.compile(module, public[:200])

# %% [markdown]
# Private training: P1 has images and labels, P0 gets the trained module; nobody knows a weight in between.

# %% torch
module, report = ariann.fit(
    module,
    public[200:],
    public_labels[200:],
    optimizer=torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9),
    epochs=6,
    batch=50,
    calibration=(public[:200], public_labels[:200]),
    test=(private, labels),
    reveal=("accuracy",),
    compare_clear=True,
    with_report=True,
)
for epoch in report.epochs:
    print(epoch["epoch"], "private", epoch["accuracy"], "in float", round(epoch["clear_accuracy"], 3))
with torch.no_grad():
    print("in plain PyTorch", (module(torch.from_numpy(private)).argmax(1).numpy() == labels).mean())

# %% torch
predicted = ariann.compile(module, public[:200]).predict(torch.from_numpy(private[:200]))
type(predicted), (predicted.argmax(1).numpy() == labels[:200]).mean()
