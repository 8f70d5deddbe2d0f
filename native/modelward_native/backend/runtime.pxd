# ONNX Runtime in this process.
from modelward_native.backend.session cimport mw_session

# model: bytes of the ONNX file, or a path of it. Raises ValueError with ONNX Runtime's words. The caller closes it.
cdef mw_session *open_session(object model, int threads) except NULL
