import os

# ONNX Runtime would note what it does in a database of its own and send it to its makers; read when it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
