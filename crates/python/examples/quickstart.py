"""Private predictions on one machine: python examples/quickstart.py."""

import ariann
import bundled

public, _ = bundled.images("train")  # they set the scales of the public plan
private, labels = bundled.images("test")

model = ariann.compile(bundled.MODEL, public[:500])
print(model.cost(batch=100))

logits = model.predict(private[:200])  # dealer, P0 with the model, P1 with the images: three processes
print("private predictions:", logits.argmax(1)[:20])
print("labels:             ", labels[:20])

simulated = model.simulate(private[:200])  # the same fixed point in clear
print(f"accuracy {100 * (logits.argmax(1) == labels[:200]).mean():.1f} %")
print(f"greatest difference from the simulation {abs(logits - simulated).max():.4f}")
