"""Private federated learning on one machine: python examples/federated_learning.py."""

import ariann

report = ariann.federated.simulate(owners=3, rounds=3, threshold=2)
for number, (private, clear) in enumerate(zip(report.accuracies, report.clear_accuracies, strict=True), 1):
    assert private is not None and clear is not None
    print(f"round {number}: accuracy {100 * private:.1f} % private, {100 * clear:.1f} % in float")
