"""Function secret sharing on arrays: python examples/function_secret_sharing.py."""

import ariann
import numpy as np

# A dealer makes keys of x < alpha for 100,000 secret points on 63 bits.
rng = np.random.default_rng()
alpha = rng.integers(0, 2**63, 100_000, dtype=np.uint64)
k0, k1 = ariann.fss.comparison(alpha=alpha, bits=63)
print(k0)

# Each party gets its key as bytes and evaluates it at public points, alone.
party0 = ariann.fss.Keys.from_bytes(k0.to_bytes())
party1 = ariann.fss.Keys.from_bytes(k1.to_bytes())
x = rng.integers(0, 2**63, 100_000, dtype=np.uint64)
bits0, bits1 = party0.eval(x), party1.eval(x)
print("shares of P0:", bits0[:10], "of P1:", bits1[:10], "together:", (bits0 ^ bits1)[:10])
assert ((bits0 ^ bits1) == (x < alpha)).all()

# A masked value: the parties hold shares of a random alpha, open x + alpha, and get additive shares of x == 0.
secret = rng.integers(-5, 6, 1000)
k0, k1 = ariann.fss.point(1000, bits=16, shares="uint64")
opened = (secret.astype(np.uint64) + k0.alpha_shares() + k1.alpha_shares()) % 2**16
zero = k0.eval(opened) + k1.eval(opened)  # additive shares of secret == 0
assert (zero == (secret == 0)).all()
print("zeros found among masked values:", int(zero.sum()))
