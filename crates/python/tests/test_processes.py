"""Threads, event loops and forks around a model."""

import asyncio
import os
import threading
import time

import ariann
import numpy as np


def test_two_models_at_once(model, images):
    other, results = ariann.compile(model.path, images[0], reveal="label"), {}

    def predict(name, of):
        results[name] = of.predict(images[1][:4], progress=False)

    threads = [threading.Thread(target=predict, args=of) for of in (("a", model), ("b", other), ("c", model))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    np.testing.assert_array_equal(results["a"].argmax(1), results["b"])
    assert np.abs(results["a"] - results["c"]).max() < 0.1


def test_a_notebook_has_an_event_loop(model, images):
    async def cell():
        return model.predict(images[1][:2], progress=False)

    assert asyncio.run(cell()).shape == (2, 10)


def test_a_forked_process_computes(model, images):
    # Threads are started here; the fork has none of them.
    model.simulate(images[1])
    ariann.fss.comparison(100_000)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            a, b = ariann.fss.point(alpha=np.arange(100_000), bits=20)
            both = a.eval(np.arange(100_000)) ^ b.eval(np.arange(100_000))
            code = 0 if both.all() and model.simulate(images[1]).shape == (20, 10) else 2
        finally:
            os._exit(code)
    until = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < until, os.kill(child, 9)
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert model.path.exists()
