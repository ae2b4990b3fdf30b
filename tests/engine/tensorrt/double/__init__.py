"""A GPU that is not there: TensorRT, pycuda and cuda-bindings in one process, on the CPU, watching how they are used.

`machine` simulates streams, events, memory and contexts; `cuda` puts the two Python packages and the driver's library
on top of it, `trt` TensorRT. Work is not done when it is put on a stream but when somebody waits for it, as late as a
real GPU may do it, and networks are computed by ONNX Runtime. Whoever breaks the contract gets a `ContractViolation`.
"""

from tests.engine.tensorrt.double.machine import ContractViolation, Machine

__all__ = ["ContractViolation", "Machine"]
