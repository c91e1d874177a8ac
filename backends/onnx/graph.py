"""Build networks as ONNX graphs and run them with ONNX Runtime, without torch and its start-up time.

A graph is built from a model's own configuration and weights when the model is loaded; there is no exported file.
Operators of the domain `com.microsoft` are ONNX Runtime's own fused ones.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.concurrency.cores import assigned_cores
from taleward.core.errors import MissingExtra

if TYPE_CHECKING:
    import numpy.typing as npt

_MICROSOFT_DOMAIN = "com.microsoft"
_EXTERNAL_FROM_BYTES = 4096
"""Constants of at least this size are passed to ONNX Runtime by reference rather than copied into the graph.

Protobuf limits a graph to 2 GB, and a copy would double the memory of the weights.
"""


class Graph:
    """A network under construction; values are referred to by name.

    Raises:
        MissingExtra: If the extra `onnx` is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("an embedded model", "onnx") from error
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._external: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input and return its name.

        Args:
            name: The input's name.
            dtype: Name of a numpy type.
            shape: Sizes; a string names a size that may differ from run to run.
        """
        self._inputs.append(self._value_info(name, dtype, shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare an output; a node must produce a value of this name. See `input` for the arguments."""
        self._outputs.append(self._value_info(name, dtype, shape))

    def constant(self, values: npt.ArrayLike, dtype: str = "float32") -> str:
        """Add a constant and return its name."""
        import numpy

        name = f"c{len(self._constants)}"
        array = numpy.ascontiguousarray(values, dtype=dtype)
        if array.nbytes < _EXTERNAL_FROM_BYTES:
            self._constants.append(self._onnx.numpy_helper.from_array(array, name))
            return name
        declaration = self._onnx.TensorProto(
            name=name,
            dims=array.shape,
            data_type=self._onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=self._onnx.TensorProto.EXTERNAL,
        )
        declaration.external_data.add(key="location", value=name)
        self._constants.append(declaration)
        self._external[name] = array
        return name

    def node(
        self, operator: str, *inputs: str, to: Sequence[str] | None = None, fused: bool = False, **attributes: object
    ) -> str:
        """Add an operator.

        Args:
            operator: Name of the ONNX operator.
            inputs: Names of its inputs; an empty string omits an optional one.
            to: Names of its outputs; by default it has one, with a generated name.
            fused: Whether it is one of ONNX Runtime's own operators.
            attributes: Attributes of the operator.

        Returns:
            The name of its first output.
        """
        outputs = list(to or (f"n{len(self._nodes)}",))
        node = self._onnx.helper.make_node(
            operator, inputs, outputs, domain=_MICROSOFT_DOMAIN if fused else "", **attributes
        )
        self._nodes.append(node)
        return outputs[0]

    def linear(self, x: str, weight: Any, bias: Any = None) -> str:
        """Add a linear layer; `weight` has shape (outputs, inputs), as in a checkpoint."""
        y = self.node("MatMul", x, self.constant(weight.T))
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def linear_int8(self, x: str, weight: Any, scales: Any, bias: Any = None) -> str:
        """Add a linear layer in 8-bit integers, about three times as fast on CPUs with VNNI instructions.

        Each vector of `x` is scaled by its own largest absolute value, so no text depends on the others in its batch
        (Dettmers et al. 2022, arXiv 2208.07339, without outliers).

        Args:
            x: Name of the input, float32.
            weight: int8, shape (inputs, outputs).
            scales: Factor of each output's weights, shape (outputs,).
            bias: Bias, shape (outputs,), or `None`.
        """
        largest = self.node("ReduceMax", self.node("Abs", x), self.constant([-1], "int64"), keepdims=1)
        largest = self.node("Max", largest, self.constant(1e-20))  # a vector of zeros must not divide by zero
        step, zero_point = self.constant(1 / 127), self.constant(128, "uint8")
        quantized = self.node("QuantizeLinear", self.node("Div", x, largest), step, zero_point)
        # Without VNNI, the uint8 x int8 kernel on x86 adds pairs of products in 16 bits, where they overflow; the
        # uint8 x uint8 kernel does not.
        weights = (self.constant(weight, "int8"), "") if _accumulates_in_32_bits() else self._as_uint8(weight)
        inputs = (quantized, weights[0], step, self.constant(scales), zero_point, weights[1])
        y = self.node("Mul", self.node("MatMulIntegerToFloat", *inputs, fused=True), largest)
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def _as_uint8(self, weight: Any) -> tuple[str, str]:
        """Add int8 weights as uint8, and return the names of the weights and their zero points."""
        import numpy

        shifted = (weight.astype(numpy.int16) + 128).astype(numpy.uint8)
        return self.constant(shifted, "uint8"), self.constant(numpy.full(weight.shape[1], 128), "uint8")

    def session(self, threads: int = 0) -> Session:
        """Build a session that runs the network on `threads` threads; 0 uses one per core, or `TALEWARD_CORES`."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "taleward", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_MICROSOFT_DOMAIN, 1)]
        # ONNX Runtime rejects IR versions newer than its own, and onnx writes its newest by default.
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return Session(model.SerializeToString(), self._external, threads)

    def _value_info(self, name: str, dtype: str, shape: Sequence[int | str]) -> Any:
        import numpy

        tensor_type = self._onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, tensor_type, shape)


@lru_cache(maxsize=1)
def _accumulates_in_32_bits() -> bool:
    """Return whether this CPU adds 8-bit products in 32 bits: x86 with VNNI, or any other architecture."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


class Session:
    """A network that runs; thread-safe.

    Args:
        model: A serialized ONNX model.
        weights: The tensors that the model declares as external, by name.
        threads: Number of threads for one run; 0 uses one per core, or `TALEWARD_CORES`.

    Raises:
        MissingExtra: If the extra `onnx` is not installed.
    """

    def __init__(self, model: bytes, weights: Mapping[str, Any], threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("an embedded model", "onnx") from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or assigned_cores() or 0
        options.log_severity_level = 3
        # ONNX Runtime's idle threads spin by default, which takes a core from the rest of the process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the network and return its outputs as numpy arrays, in the order in which they were declared."""
        outputs: list[Any] = self._session.run(None, dict(inputs))
        return outputs

    def run_into(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Run the network and write its outputs into existing arrays, without copies.

        Args:
            inputs: Contiguous numpy arrays by name.
            outputs: Contiguous numpy arrays by name. An array may be an input too, such as a cache that grows in place.
        """
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
