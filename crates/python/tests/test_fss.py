"""Function secret sharing on arrays."""

import doctest

import ariann
import numpy as np
import pytest
from ariann import fss


@pytest.mark.parametrize("shares", ["xor", "uint32", "uint64"])
@pytest.mark.parametrize("bits", [1, 7, 8, 31, 32, 33, 63])
@pytest.mark.parametrize("make", [fss.comparison, fss.point])
def test_results_add_up(make, bits, shares):
    top = 2**bits
    rng = np.random.default_rng(bits)
    alpha = rng.integers(0, top, 200, dtype=np.uint64)
    x = np.concatenate([rng.integers(0, top, 100, dtype=np.uint64), alpha[100:150], (alpha[150:] + np.uint64(1)) % top])
    k0, k1 = make(alpha=alpha, bits=bits, shares=shares)
    a, b = k0.eval(x), k1.eval(x, threads=1)
    result = a ^ b if shares == "xor" else a + b
    assert result.dtype == {"xor": np.uint8, "uint32": np.uint32, "uint64": np.uint64}[shares]
    expected = x < alpha if make is fss.comparison else x == alpha
    np.testing.assert_array_equal(result, expected)


def test_random_points_are_shared():
    k0, k1 = fss.point(500, bits=20)
    alpha = (k0.alpha_shares() + k1.alpha_shares()) % 2**20
    assert (k0.eval(alpha) ^ k1.eval(alpha)).all()
    assert len(np.unique(alpha)) > 450
    other, _ = fss.point(500, bits=20)
    assert (other.alpha_shares() != k0.alpha_shares()).any()


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint32, np.uint64])
def test_integer_types_and_strides(dtype):
    x = np.arange(120, dtype=dtype)[::-2]
    k0, k1 = fss.comparison(alpha=np.full(60, 40), bits=16)
    np.testing.assert_array_equal(k0.eval(x) ^ k1.eval(x), x < 40)


def test_bytes_there_and_back():
    keys = fss.comparison(50, bits=32)
    x = np.arange(50)
    for key in keys:
        data = key.to_bytes()
        assert len(data) == key.nbytes
        back = fss.Keys.from_bytes(data)
        assert (back.party, back.bits, back.function, back.shares, len(back)) == (key.party, 32, "less_than", "xor", 50)
        np.testing.assert_array_equal(back.eval(x), key.eval(x))
        for broken in (b"", data[:-1], data + b"\0", b"X" + data[1:]):
            with pytest.raises(ariann.errors.InputError):
                fss.Keys.from_bytes(broken)
    assert keys[1].nbytes == 72 + 50 * 420


def test_calls_that_do_not_fit():
    key, _ = fss.comparison(3, bits=8)
    for x in ([1, 2], [1, 2, 256], [1, 2, -1]):
        with pytest.raises(ariann.errors.OperatorError) as caught:
            key.eval(x)
        assert caught.value.fault == "operator" and caught.value.code == 2 and caught.value.remedy
    with pytest.raises(ariann.errors.InputError):
        key.eval([[1, 2, 3]])
    with pytest.raises(TypeError):
        key.eval([1.0, 2.0, 3.0])
    for wrong in ({"count": 1, "bits": 64}, {"count": 1, "bits": 0}, {}, {"count": 1, "alpha": [1]}, {"count": -1}):
        with pytest.raises(ariann.errors.OperatorError):
            fss.comparison(**wrong)
    with pytest.raises(ValueError):
        fss.comparison(1, shares="other")
    with pytest.raises(ariann.errors.OperatorError):
        key.eval([1, 2, 3], threads=0)
    assert fss.comparison(0)[0].eval([]).size == 0


def test_nothing_secret_is_shown():
    key, _ = fss.point(alpha=[123456], bits=32)
    assert "123456" not in repr(key) and "P0" in repr(key)
    with pytest.raises(TypeError):
        import pickle

        pickle.dumps(key)


def test_examples_of_the_documentation():
    assert doctest.testmod(fss).failed == 0
