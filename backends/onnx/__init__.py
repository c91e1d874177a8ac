"""Models on ONNX Runtime, without torch."""
