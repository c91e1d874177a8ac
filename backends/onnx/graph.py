"""Networks written as ONNX graphs, and run by ONNX Runtime: no torch, and a fraction of its start-up time.

The graph is made from a model's own configuration and weights when it loads.
Operators of the domain `com.microsoft` are ONNX Runtime's own fused ones.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra

if TYPE_CHECKING:
    import numpy.typing as npt

_FUSED = "com.microsoft"
_LARGE = 4096
"""Bytes from which a constant is handed over as it is, not copied into the graph."""


class Graph:
    """A network under construction; values are known by their names."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("an embedded model", "onnx") from error
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._large: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """A value given at each run; `kind` is a numpy type's name, a name in `shape` is a size that may vary."""
        self._inputs.append(self._value(name, kind, shape))
        return name

    def output(self, name: str, kind: str, shape: Sequence[int | str]) -> None:
        """A value that a run gives back; some node must make it."""
        self._outputs.append(self._value(name, kind, shape))

    def constant(self, values: npt.ArrayLike, kind: str = "float32") -> str:
        """Numbers that do not change."""
        import numpy

        name = f"c{len(self._constants)}"
        array = numpy.ascontiguousarray(values, dtype=kind)
        if array.nbytes < _LARGE:
            self._constants.append(self._onnx.numpy_helper.from_array(array, name))
            return name
        declared = self._onnx.TensorProto(
            name=name,
            dims=array.shape,
            data_type=self._onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=self._onnx.TensorProto.EXTERNAL,
        )
        declared.external_data.add(key="location", value=name)
        self._constants.append(declared)
        self._large[name] = array
        return name

    def node(
        self, kind: str, *inputs: str, to: Sequence[str] | None = None, fused: bool = False, **settings: object
    ) -> str:
        """An operator; an input "" is one left out.

        Returns:
            The name of its first output, or of the only one, made up where `to` does not name the outputs.
        """
        outputs = list(to or (f"n{len(self._nodes)}",))
        made = self._onnx.helper.make_node(kind, inputs, outputs, domain=_FUSED if fused else "", **settings)
        self._nodes.append(made)
        return outputs[0]

    def linear(self, x: str, weight: Any, bias: Any = None) -> str:
        """A linear layer; `weight` has shape (outputs, inputs), as a checkpoint has it."""
        y = self.node("MatMul", x, self.constant(weight.T))
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def linear_int8(self, x: str, weight: Any, scales: Any, bias: Any = None) -> str:
        """A linear layer of whole numbers: about three times as fast on CPUs that multiply them directly.

        Each vector of `x` is rounded to 8 bits by its own largest number, so that no text depends on its neighbours
        (Dettmers et al. 2022, arXiv 2208.07339, without outliers).

        Args:
            x: The input, float32.
            weight: int8, shape (inputs, outputs).
            scales: What an output's weights are to be multiplied by, shape (outputs,).
            bias: Added, where there is one.
        """
        largest = self.node("ReduceMax", self.node("Abs", x), self.constant([-1], "int64"), keepdims=1)
        largest = self.node("Max", largest, self.constant(1e-20))
        step, zero = self.constant(1 / 127), self.constant(128, "uint8")
        rounded = self.node("QuantizeLinear", self.node("Div", x, largest), step, zero)
        # Where pairs of products are added in 16 bits they could overflow; such CPUs get weights without a sign.
        weights = (self.constant(weight, "int8"), "") if _adds_in_32_bits() else self._unsigned(weight)
        inputs = (rounded, weights[0], step, self.constant(scales), zero, weights[1])
        y = self.node("Mul", self.node("MatMulIntegerToFloat", *inputs, fused=True), largest)
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def _unsigned(self, weight: Any) -> tuple[str, str]:
        import numpy

        moved = (weight.astype(numpy.int16) + 128).astype(numpy.uint8)
        return self.constant(moved, "uint8"), self.constant(numpy.full(weight.shape[1], 128), "uint8")

    def session(self, threads: int = 0) -> Session:
        """The network, ready to run on `threads` threads; 0 takes one a core."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "taleward", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return Session(model.SerializeToString(), self._large, threads)

    def _value(self, name: str, kind: str, shape: Sequence[int | str]) -> Any:
        import numpy

        tensor = self._onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(kind))
        return self._onnx.helper.make_tensor_value_info(name, tensor, shape)


@lru_cache(maxsize=1)
def _adds_in_32_bits() -> bool:
    """Whether this CPU has VNNI, or is no x86."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


class Session:
    """A network that runs; safe to use from several threads at once.

    Args:
        model: A serialised ONNX model.
        weights: The tensors that the model declares as external, by name.
        threads: Threads of one run; 0 takes one a core.
    """

    def __init__(self, model: bytes, weights: Mapping[str, Any], threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("an embedded model", "onnx") from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A thread that waits must sleep: spinning costs the rest of the process a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Any]) -> list[Any]:
        """The outputs as numpy arrays, in the order in which they were declared."""
        found: list[Any] = self._session.run(None, dict(inputs))
        return found

    def run_into(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Read the inputs and write the outputs where they lie: all are contiguous numpy arrays.

        An array may be both, as a cache is that grows in place.
        """
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
