"""AriaNN: private neural-network inference and training between two parties, by function secret sharing.

>>> import ariann
>>> model = ariann.compile("lenet.onnx", sample)      # public sample          # doctest: +SKIP
>>> model.cost()                                      # layer by layer         # doctest: +SKIP
>>> model.predict(x)                                  # three processes, TLS   # doctest: +SKIP

Whom you must trust: P0 and P1 follow the protocol and do not collude with each other; the dealer colludes with neither.
"""

from ariann import errors, federated, fss
from ariann._ariann import __version__
from ariann.cost import Cost
from ariann.errors import AriannError
from ariann.model import Model, compile
from ariann.roles import Client, Dealer, Identity, Server
from ariann.training import TrainingReport, fit

__all__ = [
    "AriannError",
    "Client",
    "Cost",
    "Dealer",
    "Identity",
    "Model",
    "Server",
    "TrainingReport",
    "__version__",
    "compile",
    "errors",
    "federated",
    "fit",
    "fss",
]
