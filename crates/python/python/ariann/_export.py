"""Models as ONNX files: of PyTorch modules, of ONNX protobufs, of files and bytes."""

from __future__ import annotations

import ast
import contextlib
import copy
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ariann._arrays import is_module
from ariann.errors import AriannError, InputError, MachineError, OperatorError, UnsupportedError

_DROPOUT = "ariann::Dropout"


def to_file(model: Any, sample: npt.NDArray[np.float32] | None, folder: Path, *, trained: bool = False) -> Path:
    """Return the path of `model` as an ONNX file, written to `folder` unless it is a file already.

    Args:
        model: `torch.nn.Module`, path, ONNX bytes, or `onnx.ModelProto`.
        sample: items of the model's input, shape `(n, ...)`; needed for a module.
        folder: where to write.
        trained: keep every parameter under its own name, for training.
    """
    if is_module(model):
        if sample is None:
            raise OperatorError("a torch.nn.Module needs a sample of its input, to know its shape; give one")
        return _of_module(model, sample[:1], folder / "model.onnx", trained)
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if not path.is_file():
            raise InputError(f"{path} is no file; give an ONNX file")
        return path.absolute()
    if isinstance(model, (bytes, bytearray)):
        content = bytes(model)
    elif hasattr(model, "SerializeToString"):
        content = model.SerializeToString()
    else:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise OperatorError(f"a model of type {kind}; give a torch.nn.Module, an ONNX file, its bytes or a ModelProto")
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def _of_module(module: Any, sample: npt.NDArray[np.float32], path: Path, trained: bool) -> Path:
    import torch

    was_training = module.training
    given, module = module, _in_float32(module)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    if device.type == "meta":
        raise InputError("the module is on the device `meta`, without values; load its weights first")
    inputs = (torch.from_numpy(sample).to(device),)
    module.eval()
    try:
        with torch.no_grad(), _quiet():
            whole = _with_dropout(module) if trained else module
            try:
                program = torch.onnx.export(
                    whole, inputs, dynamo=True, optimize=not trained, verbose=False, input_names=["input"],
                    output_names=["output"],
                )  # fmt: skip
            except Exception as error:
                raise _refused(module, inputs, error) from error
            if trained:
                _fold_shapes(program.model)
                _own_parameters_only(program.model, module)
            _rename(program.model, module, trained)
            program.save(path, external_data=False)
    finally:
        given.train(was_training)
    return path


def _in_float32(module: Any) -> Any:
    """Return the module, or a copy of it whose parameters are float32, which is what models are written in."""
    import torch

    values = [*module.parameters(), *module.buffers()]
    if all(value.dtype == torch.float32 for value in values if value.is_floating_point()):
        return module
    return copy.deepcopy(module).float()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to its own developers away from its users."""
    names = ("torch.onnx", "torch.export", "torch._subclasses.fake_tensor", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _with_dropout(module: Any) -> Any:
    """Return the module, or a copy whose dropouts are exported as layers even in evaluation mode."""
    import torch

    kinds = (torch.nn.Dropout,)
    others = (torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d, torch.nn.AlphaDropout)
    refused = [
        f"{name} ({type(child).__name__})" for name, child in module.named_modules() if isinstance(child, others)
    ]
    if refused:
        raise UnsupportedError(f"these cannot be trained: {', '.join(refused)}; replace them by torch.nn.Dropout")
    names = [name for name, child in module.named_modules() if isinstance(child, kinds) and child.p > 0]
    if not names:
        return module

    class Dropout(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, ratio: float) -> None:
            super().__init__()
            self.ratio = ratio

        def forward(self, x: Any) -> Any:
            ratio = torch.tensor(self.ratio)
            return torch.onnx.ops.symbolic(_DROPOUT, (x, ratio), dtype=x.dtype, shape=x.shape, version=1)

    module = copy.deepcopy(module)
    for name in names:
        above, _, own = name.rpartition(".")
        parent = module.get_submodule(above)
        setattr(parent, own, Dropout(getattr(parent, own).p))
    return module


def _fold_shapes(model: Any) -> None:
    """Compute shapes, which are constants, and leave every layer and parameter as it is."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants_ir

    fold_constants_ir(model, input_size_limit=1024, output_size_limit=1024)
    RemoveUnusedNodesPass()(model)
    domain, _, kind = _DROPOUT.partition("::")
    for node in model.graph:
        if node.domain == domain:
            node.domain, node.op_type, node.version = "", kind, None
    model.opset_imports.pop(domain, None)


def _own_parameters_only(model: Any, module: Any) -> None:
    """Take out biases of zeros that the exporter made up, and refuse other constants where a layer has parameters."""
    own = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
    strange = []
    for node in model.graph:
        if node.op_type not in ("Conv", "Gemm", "MatMul", "BatchNormalization"):
            continue
        for place, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.name in own:
                continue
            if place == 2 and not value.const_value.numpy().any():
                node.resize_inputs(2)
                if not value.uses():
                    model.graph.initializers.pop(value.name, None)
            else:
                strange.append(f"{_path(node.metadata_props.get('pkg.torch.onnx.name_scopes', '[]'))} ({node.op_type})")
    if strange:
        raise UnsupportedError(
            f"these layers compute with constants that are no parameters: {', '.join(strange)}; make them nn.Parameter"
        )


def _rename(model: Any, module: Any, trained: bool) -> None:
    """Name every node after the module that it is of, as the user knows it: the path alone, where the path says all."""
    own = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
    paths = []
    for node in model.graph:
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes")
        path = _path(scopes) if scopes else ""
        # Where a normalisation went into the layer before it, the layer's weights say whose node it is.
        weights = [value.name for value in node.inputs if value is not None and value.name in own]
        paths.append(weights[0].rpartition(".")[0] if weights else path)
    model.graph.name = type(module).__name__
    names: set[str] = set()
    for node, path in zip(model.graph, paths, strict=True):
        # In a training names are told apart by their beginnings, so a path ends with a slash.
        alone = path and not trained and paths.count(path) == 1
        name = path if alone else f"{path}/{node.op_type}".lstrip("/")
        number, wanted = 1, name
        while name in names:
            number += 1
            name = f"{wanted}_{number}"
        names.add(name)
        node.name = name


def _path(scopes: str) -> str:
    try:
        known = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return str(known[-2]) if len(known) > 1 else ""


def agrees(module: Any, sample: npt.NDArray[np.float32], simulate: Any, *, softmax: bool) -> None:
    """Refuse an exported module that computes something else than the module: what Python computes is not exported.

    Args:
        module: the module.
        sample: items.
        simulate: computes logits of items in fixed point.
        softmax: a Softmax or LogSoftmax at the end is left to whoever gets the logits.
    """
    import torch

    # Beside the item it was exported with, one that is another.
    items = np.stack([sample[-1], sample[0] * np.float32(0.5)])
    first = next(module.parameters(), torch.zeros(()))
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            expected = module(torch.from_numpy(items).to(first.device, first.dtype))
    finally:
        module.train(was_training)
    if not isinstance(expected, torch.Tensor):
        kind = type(expected).__name__
        raise UnsupportedError(f"the module returns a {kind}; wrap it in a module that returns one tensor of logits")
    expected = expected.float().cpu().reshape(2, -1)
    try:
        logits = torch.from_numpy(simulate(items))
    except InputError:
        return  # half an item is far from the sample: nothing can be said
    results = [logits.softmax(1), logits.log_softmax(1)] if softmax else [logits]

    def close(got: Any) -> bool:
        bound = 0.1 * max(float(expected.abs().max()), 1e-3)
        return bool(got.shape == expected.shape and (got - expected).abs().max() <= bound)

    if not any(close(got) for got in results):
        raise UnsupportedError(
            "the exported module computes something else than the module; take NumPy, .item() and Python conditions on "
            "values out of its forward pass"
        )


def _refused(module: Any, inputs: tuple[Any, ...], error: Exception) -> AriannError:
    """Name the modules that cannot be exported by themselves, by their paths."""
    import torch

    if isinstance(error, ImportError):
        return MachineError(f"{error}; install ariann[torch]")
    seen: dict[str, tuple[Any, ...]] = {}
    hooks = []
    for name, child in module.named_modules():
        if name and not any(True for _ in child.children()):
            hooks.append(
                child.register_forward_pre_hook(lambda _, given, name=name: seen.setdefault(name, given) and None)
            )
    try:
        with _quiet():
            module(*inputs)
    except Exception as failure:
        return InputError(f"the module does not take the sample: {failure}; give items of its input's shape")
    finally:
        for hook in hooks:
            hook.remove()
    names = []
    for name, given in seen.items():
        child = module.get_submodule(name)
        try:
            with _quiet():
                torch.onnx.export(child, given, dynamo=True, verbose=False)
        except Exception:
            names.append(f"{name} ({type(child).__name__})")
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = (str(cause).strip() or "no word").splitlines()[0]
    what = ", ".join(names) or f"the module's own forward ({type(cause).__name__}: {words})"
    return UnsupportedError(f"these cannot be written as ONNX: {what}; replace them by layers of docs/operators.md")
