"""Private training of a PyTorch module: python examples/training.py [--epochs N].

P0 brings the module, P1 the images and labels; nobody knows a weight until the trained module is revealed to P0.
"""

import argparse

import ariann
import bundled
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=15)
epochs = parser.parse_args().epochs

torch.manual_seed(0)
module = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
images, labels = bundled.images("train")
public = (images[:200], labels[:200])  # the model owner's: they set the scales
images, labels = images[200:], labels[200:]
test_images, test_labels = bundled.images("test")

trained, report = ariann.fit(
    module,
    images,
    labels,
    loss=nn.CrossEntropyLoss(),
    optimizer=torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9),
    epochs=epochs,
    batch=128,
    calibration=public,
    test=(test_images, test_labels),
    reveal=("accuracy",),
    compare_clear=True,  # beside it the same training in float
    with_report=True,
)
for epoch in report.epochs:
    private, clear = 100 * epoch["accuracy"], 100 * epoch["clear_accuracy"]
    print(f"epoch {epoch['epoch']:2}: accuracy {private:.1f} % private, {clear:.1f} % in float")

with torch.no_grad():
    predicted = trained(torch.from_numpy(test_images)).argmax(1).numpy()
print(f"the module in plain PyTorch: accuracy {100 * (predicted == test_labels).mean():.1f} %")
